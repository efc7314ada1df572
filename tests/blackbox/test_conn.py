# SPDX-License-Identifier: MIT
"""Connections: keep-alive, pipelining, bodies with backpressure, slow clients, room, and the end."""
import os
import re
import socket
import threading
import time

import pytest

from lib import PATIENCE, RawClient, wait_until

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
HELLO = b"Hello, World!"


def memory_of(pid):
    """Memory of its own in bytes; what it has looked at in the segment does not count."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return sum(int(ln.split()[1]) * 1024 for ln in f if ln.startswith("Pss_Anon"))


def totals(server, name):
    return server.metrics().sum(name)


# ---- keep-alive and pipelining ----


def test_keep_alive(serve):
    s = serve("builtin:hello")
    with s.connect() as c:
        for _ in range(50):
            r = c.get("/")
            assert (r.status, r.body) == (200, HELLO)
            assert r.header("connection") is None


def test_every_answer_has_date_server_and_id(serve):
    s = serve("builtin:hello")
    r = s.get("/")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", r.header("date"))
    assert r.header("server") == "capricorn"
    assert re.fullmatch(r"[0-9a-f]{16}", r.header("x-request-id"))
    assert r.header("connection") == "close"


def test_request_id_is_taken_over_if_valid(serve):
    s = serve("builtin:hello")
    assert s.get("/", {"X-Request-Id": "abc-1.2:3_4"}).header("x-request-id") == "abc-1.2:3_4"
    for bad in ("", "a b", "ü", "x" * 129, "a;b"):
        got = s.get("/", {"X-Request-Id": bad}).header("x-request-id")
        assert re.fullmatch(r"[0-9a-f]{16}", got), bad


def test_request_ids_differ(serve):
    s = serve("builtin:hello", workers=2)
    ids = set()
    for _ in range(20):
        with s.connect() as c:
            ids.update(c.get("/").header("x-request-id") for _ in range(10))
    assert len(ids) == 200


def test_http_1_0(serve):
    s = serve("builtin:hello")
    with s.connect() as c:
        r = c.request("GET", "/", version="HTTP/1.0")
        assert r.header("connection") == "close"
        assert c.is_closed()
    with s.connect() as c:
        r = c.request("GET", "/", {"Connection": "keep-alive"}, version="HTTP/1.0")
        assert r.header("connection") == "keep-alive"
        assert c.request("GET", "/", version="HTTP/1.0").status == 200


def test_head_has_no_body(serve):
    s = serve("builtin:hello")
    with s.connect() as c:
        r = c.request("HEAD", "/")
        assert (r.status, r.header("content-length")) == (200, "13")
        assert c.get("/").body == HELLO


def test_pipelined_answers_keep_their_order(serve):
    s = serve("builtin:echo", workers=1)
    with s.connect() as c:
        c.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(500)))
        for i in range(500):
            assert c.response().json()["target"] == f"/{i}"


def test_a_pipelined_batch_is_one_write(serve):
    """Seen from the client: all answers of a small batch are there with one read."""
    s = serve("builtin:hello", workers=1)
    with s.connect() as c:
        c.get("/")
        for _ in range(20):
            c.send(GET * 16)
            data = c.sock.recv(65536)
            c.buf = data
            assert data.count(b"HTTP/1.1 200") == 16
            c.responses(16)


def test_pipelined_with_bodies_between(serve):
    s = serve("builtin:echo", workers=1)
    post = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    chunked = (b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"3\r\nabc\r\n0\r\n\r\n")
    with s.connect() as c:
        c.send((GET + post + chunked) * 20)
        for _ in range(20):
            a, b, d = (r.json() for r in c.responses(3))
            assert (a["method"], b["body_bytes"], d["body_bytes"]) == ("GET", 5, 3)


def test_every_split_of_the_bytes(serve):
    s = serve("builtin:echo", workers=1)
    raw = (b"POST /p?q HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n")
    with s.connect() as c:
        for i in range(1, len(raw)):
            c.send(raw[:i])
            time.sleep(0.001)
            c.send(raw[i:])
            assert c.response().json()["body_bytes"] == 5, i


def test_a_byte_at_a_time(serve):
    s = serve("builtin:echo", workers=1)
    with s.connect() as c:
        c.send_slowly(b"PUT /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 1, 0.001)
        assert c.response().json()["body_bytes"] == 3


def test_half_closed_clients_get_their_answers(serve):
    s = serve("builtin:hello", workers=1)
    with s.connect() as c:
        c.send(GET * 3)
        c.shutdown()
        assert [r.status for r in c.responses(3)] == [200] * 3
        assert c.is_closed()


# ---- bodies ----


def test_expect_continue(serve):
    s = serve("builtin:echo", workers=1)
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert c.read_line() == b"HTTP/1.1 100 Continue"
        assert c.read_line() == b""
        c.send(b"body")
        assert c.response().json()["body_bytes"] == 4
        assert c.get("/").status == 200


def test_no_continue_for_a_body_that_is_too_large(serve):
    s = serve("builtin:echo", env={"CLIENT_MAX_BODY_SIZE": "1k"})
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n"
               b"Expect: 100-continue\r\n\r\n")
        r = c.response()
        assert (r.status, r.interim) == (413, [])
        assert r.header("connection") == "close"
        assert c.is_closed()


@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_body_limit(serve, coding):
    s = serve("builtin:echo", env={"CLIENT_MAX_BODY_SIZE": "1k"})

    def post(n):
        with s.connect() as c:
            if coding == "length":
                c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % n + b"x" * n)
            else:
                c.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                       b"%x\r\n" % n + b"x" * n + b"\r\n0\r\n\r\n")
            return c.response()
    assert post(1024).json()["body_bytes"] == 1024
    r = post(1025)
    assert r.status == 413
    assert r.header("content-type") == "application/problem+json"
    assert r.json()["status"] == 413


def test_a_body_nobody_wants_is_dropped_if_small(serve):
    s = serve("builtin:hello", workers=1)
    with s.connect() as c:
        r = c.request("POST", "/", body=b"x" * 60000)
        assert r.body == HELLO and r.header("connection") is None
        assert c.get("/").body == HELLO


def test_a_large_body_nobody_wants_ends_the_connection(serve):
    s = serve("builtin:hello", workers=1)
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100000)
        r = c.response()
        assert r.body == HELLO and r.header("connection") == "close"
        assert c.is_closed()


def upload(address, total, chunked=False):
    block = b"x" * (1 << 20)
    with RawClient(address, timeout=60) as c:
        if chunked:
            c.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            piece = b"%x\r\n" % len(block) + block + b"\r\n"
        else:
            c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
            piece = block
        for _ in range(total >> 20):
            c.send(piece)
        if chunked:
            c.send(b"0\r\n\r\n")
        return c.response()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_gigabyte_up_costs_no_memory(serve, chunked):
    size = 1 << 30
    s = serve("builtin:echo", workers=1, env={"CLIENT_MAX_BODY_SIZE": "2g"})
    upload(s.address, 1 << 20, chunked)
    pid = s.worker_pids()[0]
    before = memory_of(pid)
    assert upload(s.address, size, chunked).json()["body_bytes"] == size
    if "CAPRICORN_SANITIZED" not in os.environ:
        assert memory_of(pid) - before <= 1 << 20


def test_a_gigabyte_down_costs_no_memory(serve):
    size = 1 << 30
    s = serve("builtin:echo", workers=1)

    def download(n):
        with s.connect(timeout=60) as c:
            c.send(b"GET /?bytes=%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % n)
            got, head, buf = 0, None, bytearray(1 << 20)
            while True:
                k = c.sock.recv_into(buf)
                if k == 0:
                    return got - head
                if head is None:
                    head = bytes(buf[:k]).index(b"\r\n\r\n") + 4
                got += k
    assert download(1 << 20) == 1 << 20
    pid = s.worker_pids()[0]
    before = memory_of(pid)
    assert download(size) == size
    if "CAPRICORN_SANITIZED" not in os.environ:
        assert memory_of(pid) - before <= 1 << 20


def test_a_reader_that_stops_holds_no_memory_and_no_one_else(serve):
    s = serve("builtin:echo", workers=1)
    with s.connect(rcvbuf=8192) as stopped:
        stopped.send(b"GET /?bytes=1000000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in range(100):
            assert s.get("/").status == 200
        assert memory_of(s.worker_pids()[0]) < 8 << 20 or "CAPRICORN_SANITIZED" in os.environ


# ---- slow clients ----


def test_a_head_that_does_not_come_is_408(serve):
    s = serve("builtin:echo", workers=1, env={"HEADER_TIMEOUT": "300ms"})
    with s.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost:")
        t0 = time.monotonic()
        r = c.response()
        assert r.status == 408 and r.header("connection") == "close"
        assert 0.2 < time.monotonic() - t0 < 2 * PATIENCE
        assert c.is_closed()
    with s.connect() as c:          # who never says a word is told nothing
        assert c.is_closed()


def test_dripping_a_head_does_not_extend_its_time(serve):
    s = serve("builtin:echo", workers=1, env={"HEADER_TIMEOUT": "400ms"})
    with s.connect() as c:
        t0 = time.monotonic()
        try:
            while time.monotonic() - t0 < 5 * PATIENCE:
                c.send(b"G")
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - t0 < 3 * PATIENCE


def test_a_slow_body_is_408(serve):
    s = serve("builtin:echo", workers=1, env={"HEADER_TIMEOUT": "300ms", "MIN_BODY_RATE": "1000"})
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc")
        r = c.response()
        assert r.status == 408
        assert c.is_closed()


def test_idle_connections_end_after_the_keepalive_timeout(serve):
    s = serve("builtin:hello", workers=1, env={"KEEPALIVE_TIMEOUT": "300ms"})
    with s.connect() as c:
        c.get("/")
        t0 = time.monotonic()
        assert c.is_closed()
        assert time.monotonic() - t0 > 0.2


def test_a_reader_that_does_not_read_is_cut(serve):
    s = serve("builtin:echo", workers=1, env={"WRITE_TIMEOUT": "300ms"})
    with s.connect(rcvbuf=8192) as c:
        c.send(b"GET /?bytes=100000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: s.status()["workers"][0]["connections"] <= 1, 5, "the cut")


# ---- room ----


def test_idle_connections_make_room(serve):
    s = serve("builtin:hello", workers=1, env={"WORKER_CONNECTIONS": "20"})
    idle = []
    try:
        for _ in range(20):
            idle.append(s.connect())
            assert idle[-1].get("/").status == 200
        for _ in range(10):
            with s.connect() as c:
                assert c.get("/").status == 200
        assert idle[0].is_closed()     # the longest idle one
    finally:
        for c in idle:
            c.close()


def test_unfinished_heads_make_room(serve):
    s = serve("builtin:hello", workers=1, env={"WORKER_CONNECTIONS": "20"})
    slow = [s.connect() for _ in range(20)]
    try:
        for c in slow:
            c.send(b"GET / HTTP/1.1\r\n")
        for _ in range(10):
            t0 = time.monotonic()
            assert s.get("/").status == 200
            assert time.monotonic() - t0 < 2 * PATIENCE
    finally:
        for c in slow:
            c.close()


def test_when_there_is_no_room_new_connections_wait(serve):
    """All places taken by answers that are being read: the next client waits and loses nothing."""
    s = serve("builtin:echo", workers=1, env={"WORKER_CONNECTIONS": "4"})
    busy = [s.connect(rcvbuf=8192) for _ in range(4)]
    try:
        for c in busy:
            c.send(b"GET /?bytes=50000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        stop = threading.Event()

        def read(c):
            try:
                while not stop.is_set() and c.sock.recv(100000):
                    time.sleep(0.001)
            except OSError:
                pass
        readers = [threading.Thread(target=read, args=(c,)) for c in busy]
        for t in readers:
            t.start()
        with s.connect(timeout=60) as c:
            c.send(GET)
            time.sleep(0.2)
            stop.set()
            for t in readers:
                t.join()
            for b in busy:
                b.close()
            assert c.response().status == 200
    finally:
        for c in busy:
            c.close()


# ---- counts ----


def test_the_totals_agree_to_the_request(serve):
    s = serve("builtin:hello", workers=3)
    name = "capricorn_http_requests_total"
    before = totals(s, name)
    for _ in range(30):
        with s.connect() as c:
            c.send(GET * 10)
            c.responses(10)
    assert totals(s, name) - before == 300
    st = s.status()
    assert st["totals"]["requests"] - before == 300
    m = s.metrics()
    assert m.sum("capricorn_http_request_duration_seconds_count") - before == 300
    # One is the question itself; the one before it may end just after its answer was read.
    wait_until(lambda: s.metrics().sum("capricorn_http_requests_in_flight") == 1,
               what="no other request in flight")


def test_a_bad_request_is_counted(serve):
    s = serve("builtin:echo")
    before = s.metrics().sum("capricorn_http_requests_total", code="400")
    with s.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n")
        assert c.response().status == 400
        assert c.is_closed()
    assert s.metrics().sum("capricorn_http_requests_total", code="400") == before + 1


def test_a_client_that_leaves_is_no_error(serve):
    s = serve("builtin:echo", workers=1)
    for _ in range(20):
        c = s.connect(rcvbuf=8192)
        c.send(b"GET /?bytes=10000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        c.reset()
    wait_until(lambda: s.status()["workers"][0]["connections"] <= 1, 5, "all gone")
    st = s.status()["workers"][0]
    assert st["in_flight"] <= 1


def test_unix_socket_peer(serve, tmp_path):
    path = str(tmp_path / "sock")
    s = serve("builtin:echo", bind="unix:" + path, workers=1, wait=False)
    wait_until(lambda: os.path.exists(path) and s.log_lines("Booting worker"), 10)

    def answers():
        try:
            with RawClient(path) as c:
                return c.get("/").json()
        except OSError:
            return None
    assert wait_until(answers, 10)["client"] == "unix"
