# SPDX-License-Identifier: MIT
"""Modules for the tests: compiled when they are first asked for, once a session."""
import atexit
import os
import shlex
import shutil
import subprocess
import tempfile

from lib import TOP, Server

SOURCES = os.path.join(TOP, "tests", "modules")
FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-O1",
         "-g", "-fPIC", "-shared", "-pthread"]

_made = {}
_dir = None


def directory():
    """Where they are: removed at the end."""
    global _dir
    if _dir is None:
        _dir = tempfile.mkdtemp(prefix="capricorn-modules-")
        atexit.register(shutil.rmtree, _dir, ignore_errors=True)
        os.chmod(_dir, 0o755)
    return _dir


def compiler():
    return shlex.split(os.environ.get("CC") or "cc")


def compile_to(out, source, *flags):
    r = subprocess.run([*compiler(), *flags, "-o", out, source], capture_output=True, text=True,
                       check=False)
    assert r.returncode == 0, f"{source}: {r.stderr}"
    return out


def module(name, *defines, to=None):
    """The path of tests/modules/NAME.c, compiled with these macros (`KEY=value`)."""
    key = (name, *defines)
    if key not in _made:
        out = os.path.join(directory(), str(len(_made)), name + ".so")
        os.mkdir(os.path.dirname(out))
        compile_to(out, os.path.join(SOURCES, name + ".c"), *FLAGS,
                   "-I" + os.path.join(TOP, "include"), *("-D" + d for d in defines))
        _made[key] = out
    if to is None:
        return _made[key]
    # As a build would do it: a new file takes the place of the old one.
    shutil.copy(_made[key], to + ".new")
    os.rename(to + ".new", to)
    return to


class Notes:
    """What tests/modules/probe.c has noted, as differences to an earlier look."""

    def __init__(self, server):
        self.server = server
        self.base = self._read()

    def _read(self):
        return self.server.get("/notes").json()

    def __getitem__(self, name):
        return self._read().get(name, 0) - self.base.get(name, 0)


def probe(config="", env=None, workers=1, **kw):
    """A server with the probe."""
    settings = {"MAX_REQUESTS": 0, "THREAD_POOL_SIZE": 4, "CLIENT_MAX_BODY_SIZE": "1m",
                "GRACEFUL_TIMEOUT": "5s", "METRIC_ROUTES": 64}  # it has many, with names
    settings.update(env or {})
    return Server(module("probe"), config=config or "module: {}\n", env=settings, workers=workers,
                  **kw)


def errors(server, kind, route=None):
    """How often /metrics says that such an error occurred."""
    labels = {"type": kind, **({"route": route} if route else {})}
    return server.metrics().sum("capricorn_errors_total", **labels)
