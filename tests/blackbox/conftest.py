# SPDX-License-Identifier: MIT
"""Fixtures: `serve` starts servers that are stopped and checked at the end of the test."""
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import lib  # noqa: E402 (found by the line above)


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.failed_call = outcome.get_result().failed


def pytest_runtest_logreport(report):
    """A failure is told at once: a run that is killed has no summary."""
    if report.failed:
        print(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext}", flush=True)


@pytest.fixture
def serve(request):
    """serve(*args, **kw) -> lib.Server. At the end each is stopped with TERM if it still runs, and
    nothing of it may be left."""
    servers = []

    def start(*args, **kw):
        server = lib.Server(*args, **kw)
        servers.append(server)
        return server

    yield start
    failed = getattr(request.node, "failed_call", False)
    problems = []
    for server in reversed(servers):
        try:
            if failed:
                continue
            if server.returncode is None:
                server.stop()
            else:
                server.check_left()
        except AssertionError as e:
            problems.append(str(e))
        finally:
            words = server.last_words() if failed or problems else ""
            server.destroy()
            print(words, end="")
    assert not problems, "\n".join(problems)


@pytest.fixture
def server(serve):
    """Two workers with builtin:api."""
    return serve("builtin:api")


@pytest.fixture
def echo(serve):
    """Two workers with builtin:echo."""
    return serve("builtin:echo")


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """What `make install` gives, in a directory of its own: the sysroot."""
    build = os.path.dirname(lib.BINARY)
    if not os.path.exists(os.path.join(build, "capricorn.pc")):
        pytest.skip("the program under test stands in no build directory")
    root = str(tmp_path_factory.mktemp("installed"))
    r = subprocess.run(["make", "-s", "--no-print-directory", "-C", build, "install-includeHEADERS",
                        "install-pkgconfigDATA", f"DESTDIR={root}"], capture_output=True,
                       text=True, check=False)
    assert r.returncode == 0, r.stdout + r.stderr
    return root
