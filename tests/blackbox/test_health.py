# SPDX-License-Identifier: MIT
"""capricorn --health: what a container engine asks, with the settings of the server."""
import os
import signal
import socket
import threading
import time

import pytest

import lib
from test_listen import free_port, have_v6


def health(*args, env=None, cwd=None):
    return lib.run("--health", *args, env=env, cwd=cwd)


def is_well(r, word="healthy"):
    assert (r.returncode, r.stderr) == (0, ""), r
    assert r.stdout.endswith(f": {word}\n") and r.stdout.count("\n") == 1, r
    return r.stdout


def is_bad(r, problem):
    assert (r.returncode, r.stdout) == (1, ""), r
    assert problem in r.stderr and r.stderr.count("\n") == 1, r
    return r.stderr


class Fake:
    """A listener that takes connections and says `answer` (None: nothing, for ever)."""

    def __init__(self, answer):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.bind = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.answer = answer
        self.taken = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        try:
            c, _ = self.socket.accept()
            self.taken.append(c)
            if self.answer is not None:
                c.recv(4096)
                c.sendall(self.answer)
                c.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()
        for c in self.taken:
            c.close()


def test_healthy_by_every_origin(serve, tmp_path):
    """It reads what the server reads: environment, flags, file."""
    s = serve("builtin:api")
    bind = "127.0.0.1:%d" % s.port
    said = is_well(health(env={"BIND": bind}))
    assert said == f"http://{bind}/health: healthy\n"
    is_well(health("--bind", bind))
    is_well(health("--port", s.port))          # 0.0.0.0 is asked at 127.0.0.1
    is_well(health("--bind", bind, "--bind", "127.0.0.1:1"))  # the first one
    (tmp_path / "capricorn.yaml").write_text(f"bind: {bind}\n")
    is_well(health(cwd=tmp_path))


def test_prefix(serve):
    """Another app has the built-in paths elsewhere, and answers /health itself."""
    s = serve("builtin:echo")
    bind = "127.0.0.1:%d" % s.port
    assert "/_capricorn/health" in is_well(health("--bind", bind, "builtin:echo"))
    is_well(health("--bind", bind, env={"CAPRICORN_APP": "builtin:echo"}))
    is_bad(health("--bind", bind), "is not that of /health")
    own = serve("builtin:hello", env={"STATUS_PREFIX": "/a/b"})
    is_well(health("--port", own.port, "--status-prefix", "/a/b", "builtin:hello"))


def test_needs_no_right_to_read_the_status(serve):
    s = serve("builtin:api", wait=False, env={"STATUS_ALLOW": "10.0.0.1"})
    s.wait_log("Ready: ")
    is_well(health("--port", s.port))


def test_unix_socket(serve):
    s = serve("builtin:hello", bind="unix:a.sock", wait=False)
    s.wait_log("Ready: ")
    said = is_well(health("builtin:hello", "--bind", "unix:a.sock", cwd=s.tmp))
    assert said == "unix:a.sock, /_capricorn/health: healthy\n"
    is_well(health("builtin:hello", "--bind", f"unix:{s.tmp}/a.sock"))
    is_well(health("builtin:hello", "--bind", "unix:a.sock", "--chdir", s.tmp))
    is_bad(health("builtin:hello", "--bind", "unix:a.sock"), "No such file")
    is_bad(health("--bind", "unix:a.sock", "--chdir", s.tmp + "/none"), "cannot change to")


@pytest.mark.skipif(not have_v6(), reason="no IPv6 here")
def test_v6(serve):
    s = serve("builtin:api", bind="[::1]:0")
    is_well(health("--bind", f"[::1]:{s.port}"))
    said = is_well(health("--bind", f"[::]:{s.port}"))
    assert said.startswith(f"http://[::1]:{s.port}/health")


def test_degraded_is_well(serve):
    s = serve("builtin:api", config="web_workers: 1\n")
    s.write_config("web_workers: none\n")
    s.kill(signal.SIGHUP)
    lib.wait_until(lambda: s.get("/health").json()["status"] == "degraded", what="degraded")
    is_well(health("--port", s.port), "degraded")


def test_nobody_listens():
    is_bad(health("--port", free_port()), "Connection refused")


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::]:0", "fd://7"])
def test_what_cannot_be_asked(bind):
    is_bad(health("--bind", bind), "port" if ":0" in bind else "descriptor")


def test_bad_settings():
    r = health(env={"BIND": "nowhere", "WEB_WORKERS": "x"})
    assert r.returncode == 1 and "BIND" in r.stderr and "WEB_WORKERS" in r.stderr


@pytest.mark.parametrize("answer, problem", [
    (b"", "closed without an answer"),
    (b"\0" * 100000, "no HTTP"),
    (os.urandom(50000), "no HTTP"),
    (b"HTTP/1.1 200 OK\r\n\r\n" + b"{" * 100000, "not that of /health"),
    (b"HTTP/1.1 200 OK\r\n\r\nHello, World!", "not that of /health"),
    (b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"status":"unhealthy"}', "unhealthy (503)"),
], ids=["nothing", "zeros", "noise", "braces", "hello", "unhealthy"])
def test_other_answers(answer, problem):
    with Fake(answer) as f:
        r = health("--bind", f.bind)
    # Who throws away unread bytes resets the connection, and the answer may get lost with it.
    is_bad(r, problem if "reset" not in r.stderr else "reset")


def test_hung_server(serve):
    """All workers hang: there is an end to waiting."""
    s = serve("builtin:hello", workers=1)
    pid = s.worker_pids()[0]
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    r = health("builtin:hello", "--port", s.port)
    took = time.monotonic() - begin
    os.kill(pid, signal.SIGCONT)
    is_bad(r, "no answer within 5000 ms")
    assert 4.5 < took < 5 + 5 * lib.PATIENCE
