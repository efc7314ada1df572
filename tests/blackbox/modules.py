# SPDX-License-Identifier: MIT
"""Modules of the tests (tests/modules/NAME.c), each compiled once."""
import atexit
import functools
import os
import shlex
import shutil
import subprocess
import tempfile

import lib


@functools.lru_cache(maxsize=None)
def _directory():
    path = tempfile.mkdtemp(prefix="capricorn-modules-")
    os.chmod(path, 0o755)  # workers of another user read it, too
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.lru_cache(maxsize=None)
def module(name, flags=()):
    """The path of tests/modules/NAME.c as a shared object, NAME.so."""
    source = os.path.join(lib.TOP, "tests", "modules", name + ".c")
    where = os.path.join(_directory(), *[str(abs(hash(flags)))] if flags else [])
    os.makedirs(where, exist_ok=True)
    out = os.path.join(where, name + ".so")
    subprocess.run([*shlex.split(os.environ.get("CC", "gcc")), "-std=gnu11", "-O1", "-g", "-Wall",
                    "-Wextra", "-Wno-missing-field-initializers", "-fPIC", "-shared", "-pthread",
                    "-I", os.path.join(lib.TOP, "include"), *flags, "-o", out, source],
                   check=True, timeout=120)
    return out
