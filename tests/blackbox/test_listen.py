# SPDX-License-Identifier: MIT
"""Where it listens."""
import os
import signal
import socket
import stat

import pytest

import lib
from lib import RawClient, parse_url


def get(address, path="/"):
    with RawClient(address) as c:
        return c.request("GET", path, close=True)


def serve_unix(serve, bind, **kw):
    """Who comes over a unix socket may not ask for /status: the log says when it is ready."""
    s = serve("builtin:hello", bind=bind, wait=False, **kw)
    s.wait_log("Ready: ")
    return s


def have_v6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_many_listeners(serve):
    binds = ["--bind", "127.0.0.1:0", "--bind", "127.0.0.2:0", "--bind", "unix:a.sock"]
    if have_v6():
        binds += ["--bind", "[::1]:0"]
    s = serve("builtin:hello", *binds, bind=None)
    assert len(s.urls) == len(binds) // 2
    for url in s.urls:
        address = parse_url(url)
        if isinstance(address, str):
            address = os.path.join(s.tmp, address)
        assert get(address).body == b"Hello, World!"


@pytest.mark.skipif(not have_v6(), reason="no IPv6 here")
def test_v4_and_v6_wildcards_on_one_port(serve):
    port = free_port()
    s = serve("builtin:hello", "--bind", f"0.0.0.0:{port}", "--bind", f"[::]:{port}", bind=None)
    assert get(("127.0.0.1", port)).status == 200
    assert get(("::1", port)).status == 200
    assert s.stop() == 0


def test_port_in_use_names_address_and_setting(serve):
    s = serve("builtin:hello")
    r = lib.run("--bind", f"127.0.0.1:{s.port}")
    assert r.returncode == 1
    assert f"BIND: 127.0.0.1:{s.port} is in use" in r.stderr
    assert s.get("/").status == 200


def test_all_bad_addresses_are_told(serve):
    s = serve("builtin:hello")
    r = lib.run("--bind", f"127.0.0.1:{s.port}", "--bind", "192.0.2.1:80", "--bind",
                "unix:/no/such/dir/sock")
    assert r.returncode == 1
    assert "is in use" in r.stderr
    assert "192.0.2.1:80: Cannot assign" in r.stderr
    assert "/no/such/dir/sock: No such file" in r.stderr


def test_port_is_free_again_at_once(serve):
    s = serve("builtin:hello")
    port = s.port
    with s.connect() as c:
        assert c.get("/").status == 200
        s.stop()
    s = serve("builtin:hello", bind=f"127.0.0.1:{port}")
    assert s.get("/").status == 200


def test_unix_socket(serve):
    s = serve_unix(serve, "unix:x.sock")
    path = os.path.join(s.tmp, "x.sock")
    assert s.urls == ["unix:x.sock"]
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert get(path).body == b"Hello, World!"
    r = lib.run("--bind", f"unix:{path}")
    assert r.returncode == 1
    assert "is in use" in r.stderr
    assert get(path).status == 200
    assert s.stop() == 0
    assert not os.path.exists(path)


def test_stale_unix_socket_is_replaced(serve, tmp_path):
    path = str(tmp_path / "stale.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    s = serve_unix(serve, f"unix:{path}")
    assert get(path).status == 200
    assert s.log_lines("which nobody listens on")
    s.stop()
    assert not os.path.exists(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    r = lib.run("--bind", f"unix:{path}")
    assert r.returncode == 1
    assert f"BIND: unix:{path} is there, and is not a socket" in r.stderr
    assert path.read_text() == "data"


def test_socket_of_somebody_else_is_not_removed_at_the_end(serve, tmp_path):
    path = str(tmp_path / "x.sock")
    s = serve_unix(serve, f"unix:{path}")
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        s.stop()
        assert os.path.exists(path)


def test_inherited_descriptor(serve):
    with socket.socket() as ln:
        ln.bind(("127.0.0.1", 0))
        ln.listen(5)
        s = serve("builtin:hello", bind=f"fd://{ln.fileno()}", pass_fds=(ln.fileno(),))
        address = ln.getsockname()
        assert s.address == address
        assert get(address).status == 200
        s.stop()


def test_descriptor_that_is_no_listener(serve):
    r, w = os.pipe()
    try:
        s = serve("builtin:hello", bind=f"fd://{r}", pass_fds=(r,), wait=False)
        assert s.wait_exit() == 1
        assert s.log_lines(f"BIND: cannot listen at fd://{r}")
    finally:
        os.close(r)
        os.close(w)


def test_backlog_above_somaxconn_is_told(serve):
    with open("/proc/sys/net/core/somaxconn", encoding="ascii") as f:
        most = int(f.read())
    s = serve("builtin:hello", "--backlog", str(min(most + 1, 65535) if most < 65535 else most))
    if most < 65535:
        assert s.log_lines(rf"BACKLOG: {most + 1} is cut to {most}")


def test_nobody_listens_after_a_stop_has_begun(serve):
    s = serve("builtin:api", env={"GRACEFUL_TIMEOUT": "10s"})
    with s.connect() as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        lib.wait_until(lambda: s.status()["totals"]["connections"] >= 2 and
                       any(w["in_flight"] for w in s.status()["workers"]), what="the request")
        s.kill(signal.SIGTERM)

        def refused():
            try:
                with RawClient(s.address):
                    return False
            except ConnectionRefusedError:
                return True
        lib.wait_until(refused, what="refused connections")
        c.send("cd")
        assert c.response("POST").body == b"abcd"
    assert s.wait_exit() == 0


def test_standard_descriptors_may_be_closed(serve):
    def close_all():
        for fd in 0, 1, 2:
            os.close(fd)

    port = free_port()
    s = serve("builtin:hello", "--access-logfile", "-", wait=False, bind=f"127.0.0.1:{port}",
              preexec=close_all)

    def answers():
        try:
            with RawClient(("127.0.0.1", port)) as c:
                return c.get("/").status == 200
        except OSError:
            return False
    lib.wait_until(answers, 10, "an answer")
    for fd in 0, 1, 2:
        assert os.readlink(f"/proc/{s.pid}/fd/{fd}") == "/dev/null"
    assert s.stop() == 0
    assert s.log() == ""
