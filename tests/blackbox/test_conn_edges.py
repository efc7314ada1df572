# SPDX-License-Identifier: MIT
"""Connections at their edges: errors after an answer, clients that leave in the midst, limits at
their extremes, workers that are drained while something is under way."""
import os
import re
import signal
import socket
import threading
import time

import pytest

from lib import PATIENCE, RawClient, alive, wait_until


GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
EVIL = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
HELLO = b"Hello, World!"


def served(server, **labels):
    return server.metrics().sum("capricorn_http_requests_total", **labels)


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return sum(map(int, f.read().rpartition(")")[2].split()[11:13]))


# ---- what is wrong after the answer is out ----


def test_a_bad_chunk_after_the_answer_ends_the_connection(serve):
    """The answer did not wait for the body. What follows a broken one is no request."""
    s = serve("builtin:hello", workers=1)
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + EVIL)
        assert c.response().body == HELLO
        assert c.is_closed()
    assert served(s) == 1


def test_a_body_that_gets_too_large_after_the_answer_ends_the_connection(serve):
    s = serve("builtin:hello", workers=1, env={"CLIENT_MAX_BODY_SIZE": "10"})
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + EVIL)
        assert c.response().body == HELLO
        assert c.is_closed()
    assert served(s) == 1


def test_a_slow_rest_of_a_body_after_the_answer_ends_the_connection(serve):
    s = serve("builtin:hello", workers=1, env={"HEADER_TIMEOUT": "300ms"})
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        assert c.response().body == HELLO
        assert c.is_closed()
    assert served(s) == 1


def test_the_rest_of_a_body_has_a_bound_without_a_rate(serve):
    """MIN_BODY_RATE=0: what nobody wants may still not hold a connection for ever."""
    s = serve("builtin:hello", workers=1, env={"HEADER_TIMEOUT": "300ms", "MIN_BODY_RATE": "0"})
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        assert c.response().body == HELLO
        assert c.is_closed()


def test_an_answer_before_its_body_is_counted_before_it_is_sent(serve):
    s = serve("builtin:hello", workers=1)
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        assert c.response().body == HELLO
        assert served(s) == 1
    wait_until(lambda: s.status()["workers"][0]["connections"] <= 1, 5, "the end")
    assert served(s) == 1
    assert s.metrics().sum("capricorn_http_requests_in_flight") <= 1


@pytest.mark.parametrize("bad", [b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
                                 b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
                                 b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                                 b"Transfer-Encoding: chunked\r\n\r\n"])
def test_an_error_in_the_middle_of_a_batch(serve, bad):
    s = serve("builtin:echo", workers=1)
    post = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    with s.connect() as c:
        c.send(GET + post + bad + EVIL)
        codes = [c.response().status for _ in range(3)]
        assert codes[:2] == [200, 200] and codes[2] in (400, 505)
        assert c.is_closed()
    assert served(s) == 3


# ---- closing ----


def test_an_answer_is_not_lost_to_a_client_that_sends_all_before_it_reads(serve):
    """413 to an upload of 30 MB by a client that looks for its answer only then."""
    s = serve("builtin:echo", workers=1, env={"CLIENT_MAX_BODY_SIZE": "1k"})
    size = 30 << 20
    with s.connect(timeout=30) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        c.send(b"x" * size)
        assert c.response().status == 413
        assert c.is_closed()


def test_closing_as_asked_does_not_lose_the_answer(serve):
    """More was sent after a request with Connection: close: no reset before the client has read."""
    s = serve("builtin:echo", workers=1)
    for _ in range(20):
        with s.connect() as c:
            c.send(b"GET /?bytes=100000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" +
                   GET * 1000)
            time.sleep(0.01)
            assert len(c.response().body) == 100000
            assert c.sock.recv(1) == b""


def test_newlines_between_requests_are_no_request(serve):
    """A client may send an empty line after a body. It is not told 408 for it."""
    s = serve("builtin:hello", workers=1, env={"HEADER_TIMEOUT": "300ms"})
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n")
        assert c.response().body == HELLO
        assert c.is_closed()
    with s.connect() as c:
        c.send(GET + b"\r\n")
        assert c.response().body == HELLO
        c.send(GET)
        assert c.response().body == HELLO


def test_a_client_that_leaves_in_the_midst_of_a_body(serve):
    s = serve("builtin:echo", workers=1)
    for how in ("close", "reset", "half"):
        for _ in range(10):
            c = s.connect()
            c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
            if how == "half":
                c.shutdown()
                assert c.is_closed()
            if how == "reset":
                c.reset()
            else:
                c.close()
    wait_until(lambda: s.status()["workers"][0]["connections"] <= 1, 5, "all gone")
    assert served(s) == 0
    assert s.metrics().sum("capricorn_http_requests_in_flight") <= 1


@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_what_comes_at_once_is_read_to_its_end(serve, tmp_path, where):
    """A worker that has slept sees a request, much more than a buffer holds, and the end of the
    stream or an error behind it, as one event."""
    bind = {"BIND": f"unix:{tmp_path}/socket"} if where == "unix" else {}
    s = serve("builtin:echo", workers=1, env=bind)
    pid = s.worker_pids()[0]
    body = b"x" * 150000
    put = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    for data in (GET, GET * 3, put, put + GET):
        with s.connect() as c, s.connect() as leaves:
            assert c.get("/").status == leaves.get("/").status == 200
            os.kill(pid, signal.SIGSTOP)
            try:
                c.send(data)
                c.shutdown()
                leaves.send(GET)
                leaves.reset()
            finally:
                os.kill(pid, signal.SIGCONT)
            n = data.count(b"HTTP/1.1")
            assert [r.status for r in c.responses(n)] == [200] * n
            assert c.is_closed()
    wait_until(lambda: s.status()["workers"][0]["connections"] <= 1, 5, "all gone")


def test_a_half_closed_client_gets_a_long_answer(serve):
    s = serve("builtin:echo", workers=1)
    with s.connect(rcvbuf=8192) as c:
        c.send(GET.replace(b"/x", b"/?bytes=3000000") * 3)
        c.shutdown()
        assert [len(r.body) for r in c.responses(3)] == [3000000] * 3
        assert c.is_closed()


def test_the_access_log_tells_who_left(serve, tmp_path):
    """As in nginx: what was sent of an answer, or 499 if there was none yet. Not a request served."""
    path = str(tmp_path / "access.log")
    s = serve("builtin:echo", "--access-logfile", path, workers=1)
    with s.connect() as c:
        c.send(b"POST /part HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
    with s.connect(rcvbuf=8192) as c:
        c.send(b"GET /down?bytes=100000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        c.read_exactly(100)
    for pattern in (r'"POST /part HTTP/1.1" 499 0? ?', r'"GET /down\?bytes=100000000 HTTP/1.1" 200 '):
        def line(pattern=pattern):
            with open(path, encoding="utf-8") as f:
                return re.findall(pattern, f.read())
        assert len(wait_until(line, 10, pattern)) == 1
    assert served(s) == 0
    assert s.metrics().sum("capricorn_http_requests_in_flight") <= 1


def test_a_request_that_waits_says_for_whom(serve):
    s = serve("builtin:echo", workers=1)
    active = s.prefix + "/api/v1/performance/active-requests"

    def states():
        return s.get(active).body.decode()
    with s.connect() as c, s.connect(rcvbuf=8192) as d:
        c.send(b"POST /reads HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        d.send(b"GET /writes?bytes=100000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: "/reads" in states() and "/writes" in states(), 10, "both rows")
        text = states()
        assert '"reading"' in text and '"writing"' in text, text


# ---- methods, versions, expectations ----


def test_head_of_what_would_be_long(serve):
    s = serve("builtin:echo", workers=1)
    with s.connect() as c:
        r = c.request("HEAD", "/?bytes=5000000")
        assert (r.status, r.header("content-length")) == (200, "5000000")
        assert c.request("HEAD", "/?bytes=0").header("content-length") == "0"
        assert c.get("/?bytes=3").body == b"012"


def test_head_of_an_error_has_no_body(serve):
    s = serve("builtin:echo", workers=1, env={"CLIENT_MAX_BODY_SIZE": "10"})
    with s.connect() as c:
        r = c.request("HEAD", "/", {"Content-Length": "11"})
        assert r.status == 413
        assert c.read_to_end() == b""


def test_a_413_is_logged_with_its_request(serve, tmp_path):
    path = str(tmp_path / "access.log")
    s = serve("builtin:echo", "--access-logfile", path, workers=1,
              env={"CLIENT_MAX_BODY_SIZE": "10"})
    r = s.request("PUT", "/large", {"X-Request-Id": "mine", "Accept": "text/plain"}, b"x" * 11)
    assert (r.status, r.header("x-request-id")) == (413, "mine")
    assert r.header("content-type").startswith("text/plain")

    def line():
        with open(path, encoding="utf-8") as f:
            return [ln for ln in f.read().splitlines() if '"PUT /large HTTP/1.1" 413' in ln]
    wait_until(line, 10, "its line")
    assert served(s, code="413", method="PUT") == 1


def test_http_1_0_and_expect(serve):
    """HTTP/1.0 knows no 100 (RFC 9110, 10.1.1)."""
    s = serve("builtin:echo", workers=1)
    with s.connect() as c:
        c.send(b"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        c.send(b"abc")
        r = c.response()
        assert (r.status, r.interim, r.json()["body_bytes"]) == (200, [], 3)
        assert c.is_closed()


def test_expectations_in_a_batch(serve):
    """Each answer, the interim ones too, stands where its request stood."""
    s = serve("builtin:echo", workers=1)
    post = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with s.connect() as c:
        c.send(GET + post + b"hello" + GET + post)
        assert c.response().json()["method"] == "GET"
        assert c.response().json()["body_bytes"] == 5
        assert c.response().json()["method"] == "GET"
        assert c.read_line() == b"HTTP/1.1 100 Continue"
        assert c.read_line() == b""
        c.send(b"hello")
        assert c.response().json()["body_bytes"] == 5


# ---- limits at their extremes ----


def test_the_largest_heads(serve):
    s = serve("builtin:echo", workers=1,
              env={"LIMIT_REQUEST_LINE": "65536", "LIMIT_REQUEST_FIELD_SIZE": "65536",
                   "LIMIT_REQUEST_FIELDS": "32768"})
    target = "/" + "t" * 65000
    with s.connect() as c:
        for _ in range(3):
            r = c.request("POST", target, {"X-A": "a" * 65000, "X-B": "b" * 65000},
                          b"z" * 100000).json()
            assert (r["target"], r["body_bytes"]) == (target, 100000)
            assert dict(map(tuple, r["headers"]))["X-B"] == "b" * 65000
        assert c.get("/small").json()["target"] == "/small"
    with s.connect() as c:      # in pieces, each of which may move the buffer
        raw = (b"POST %s HTTP/1.1\r\nHost: a\r\nX-Request-Id: me\r\nX-A: %s\r\n"
               b"Transfer-Encoding: chunked\r\n\r\n" % (target.encode(), b"a" * 65000))
        c.send_slowly(raw, 1999, 0.0005)
        for _ in range(20):
            c.send(b"3e8\r\n" + b"x" * 500)
            time.sleep(0.002)
            c.send(b"x" * 500 + b"\r\n")
        c.send(b"0\r\n\r\n")
        r = c.response()
        assert r.header("x-request-id") == "me"
        assert (r.json()["target"], r.json()["body_bytes"]) == (target, 20000)


def test_a_head_above_all_limits(serve):
    s = serve("builtin:echo", workers=1)
    with s.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: %s\r\n" % (b"y" * 8000) * 9 + b"\r\n")
        assert c.response().status == 431
        assert c.is_closed()
    with s.connect() as c:
        c.send(b"\r\n" * 60000 + GET)
        assert c.response().status in (400, 431)


def test_the_smallest_limits(serve):
    s = serve("builtin:echo", workers=1, bind="127.0.0.1:0",
              env={"LIMIT_REQUEST_LINE": "64", "LIMIT_REQUEST_FIELD_SIZE": "64",
                   "LIMIT_REQUEST_FIELDS": "4", "CLIENT_MAX_BODY_SIZE": "0"})
    with s.connect() as c:
        assert c.get("/" + "a" * (64 - 14)).status == 200
        assert c.get("/" + "a" * (64 - 13)).status == 414
    assert s.request("POST", "/", body=b"x").status == 413
    assert s.request("POST", "/", {"Content-Length": "0"}).status == 200


def test_the_longest_head_of_an_answer(serve):
    s = serve("builtin:api", workers=1)
    with s.connect() as c:
        kind = "a/" + "b" * 1022
        one = (f"POST /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: {'i' * 128}\r\n"
               f"Content-Type: {kind}\r\nContent-Length: 2\r\n\r\nhi").encode()
        c.send(one * 100)
        for r in c.responses(100):
            assert (r.body, r.header("content-type")) == (b"hi", kind)


def test_one_connection_per_worker(serve):
    s = serve("builtin:hello", workers=1, env={"WORKER_CONNECTIONS": "1", "MAX_REQUESTS": "0"})
    with s.connect() as idle:
        assert idle.get("/").status == 200
        for _ in range(20):
            assert s.get("/").status == 200
        assert idle.is_closed()
    with s.connect() as half:
        half.send(b"GET / HTTP/1.1\r\n")
        assert s.get("/").status == 200      # a head that had its second makes room


def test_no_keepalive(serve):
    s = serve("builtin:hello", workers=1, env={"KEEPALIVE_TIMEOUT": "0"})
    with s.connect() as c:
        r = c.get("/")
        assert (r.body, r.header("connection")) == (HELLO, "close")
        assert c.is_closed()


# ---- time ----


def test_a_body_that_is_late_gets_408_and_is_counted_once(serve):
    s = serve("builtin:echo", workers=1, env={"REQUEST_TIMEOUT": "400ms"})
    with s.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50000)
        r = c.response()
        assert (r.status, r.header("connection")) == (408, "close")
        assert c.is_closed()
    assert served(s, code="408") == served(s) == 1


def test_a_new_connection_has_its_time_from_the_accept(serve):
    s = serve("builtin:echo", workers=1, env={"HEADER_TIMEOUT": "2s"})
    with s.connect() as c:
        t0 = time.monotonic()
        time.sleep(1.5)
        c.send(b"GET / HTTP/1.1\r\nHo")
        assert c.response().status == 408
        assert time.monotonic() - t0 < 2.9 + (PATIENCE - 1)


def test_a_whole_answer_has_its_time(serve):
    s = serve("builtin:echo", workers=1, env={"STREAM_TIMEOUT": "500ms"})
    with s.connect(rcvbuf=4096) as c:
        c.send(b"GET /?bytes=100000000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        t0, stop = time.monotonic(), time.monotonic() + 10 * PATIENCE
        try:
            while time.monotonic() < stop and c.sock.recv(4096):
                time.sleep(0.001)
        except ConnectionResetError:
            pass
        assert time.monotonic() - t0 < 5 * PATIENCE


# ---- draining ----


def drained(server, pid, sig=signal.SIGTERM):
    os.kill(pid, sig)
    wait_until(lambda: pid not in server.worker_pids(), 10, "draining")


def test_a_download_outlives_the_draining_of_its_worker(serve):
    s = serve("builtin:echo", workers=1)
    pid = s.worker_pids()[0]
    with s.connect(rcvbuf=65536, timeout=30) as c:
        c.send(b"GET /?bytes=30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        c.read_exactly(10000)
        drained(s, pid)
        time.sleep(2.5)      # longer than idle connections are kept
        rest = 30000000 - 10000
        while rest > 1000000:
            rest -= len(c.read_exactly(1000000))
        # An answer that has promised keep-alive: the connection has its time afterwards as well.
        c.buf = b""
        c.sock.settimeout(0.3 * PATIENCE)
        try:
            while c.sock.recv(1 << 20):
                pass
            pytest.fail("closed at once after an answer that had promised to keep it")
        except socket.timeout:
            pass
        c.sock.settimeout(10 * PATIENCE)
        r = c.get("/last")
        assert (r.json()["target"], r.header("connection")) == ("/last", "close")


def test_a_request_in_flight_is_finished_by_a_draining_worker(serve):
    s = serve("builtin:echo", workers=2)
    with s.connect() as c, s.connect() as head:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        head.send(b"GET /head HTTP/1.1\r\nHost")
        old = s.worker_pids()
        for pid in old:
            os.kill(pid, signal.SIGTERM)
        s.wait_ready()
        wait_until(lambda: not set(old) & set(s.worker_pids()), what="the draining of both")
        c.send(b"def")
        r = c.response()
        assert (r.json()["body_bytes"], r.header("connection")) == (6, "close")
        assert c.is_closed()
        head.send(b": a\r\n\r\n")
        r = head.response()
        assert (r.json()["target"], r.header("connection")) == ("/head", "close")


def test_a_client_that_takes_nothing_does_not_hold_a_draining_worker(serve):
    s = serve("builtin:echo", workers=1, env={"GRACEFUL_TIMEOUT": "1s"})
    pid = s.worker_pids()[0]
    with s.connect(rcvbuf=4096) as c:
        c.send(b"GET /?bytes=1000000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        c.read_exactly(1000)
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not alive(pid), 5, "its end")


def test_a_stop_while_an_old_worker_drains(serve):
    s = serve("builtin:echo", workers=1)
    with s.connect() as c, s.connect() as idle:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        assert idle.get("/").status == 200
        old = s.worker_pids()
        s.kill(signal.SIGHUP)
        wait_until(lambda: s.worker_pids() and s.worker_pids() != old, 10, "the new generation")
        s.kill(signal.SIGTERM)
        s.wait_log("Handling signal: TERM", 5)
        c.send(b"def")
        r = c.response()
        assert (r.json()["body_bytes"], r.header("connection")) == (6, "close")
        assert idle.is_closed()
        assert s.wait_exit(10) == 0


def test_stopping_ends_though_clients_keep_coming(serve):
    """Emptying the queue has an end: a storm of connections does not keep a worker alive."""
    s = serve("builtin:hello", workers=2, env={"GRACEFUL_TIMEOUT": "20s"})
    stop = threading.Event()

    def storm():
        while not stop.is_set():
            try:
                with RawClient(s.address) as c:
                    c.get("/")
            except (OSError, EOFError, IndexError):
                time.sleep(0.001)
    threads = [threading.Thread(target=storm) for _ in range(6)]
    for t in threads:
        t.start()
    try:
        time.sleep(0.3)
        t0 = time.monotonic()
        assert s.stop() == 0
        assert time.monotonic() - t0 < 8 * PATIENCE
    finally:
        stop.set()
        for t in threads:
            t.join()


# ---- who accepts ----


def test_a_listening_worker_takes_what_a_stopped_one_with_less_leaves(serve):
    """The counts have changed since the worker decided to listen: it neither spins nor waits."""
    s = serve("builtin:hello", workers=2, env={"WORKER_TIMEOUT": "60s", "MAX_REQUESTS": "0"})
    clients = []
    of_worker = {}
    for _ in range(24):
        before = {w["pid"]: w["connections"] for w in s.status()["workers"]}
        c = s.connect()
        assert c.get("/").status == 200
        after = {w["pid"]: w["connections"] for w in s.status()["workers"]}
        grown = max(after, key=lambda p: after[p] - before.get(p, 0))
        clients.append(c)
        of_worker.setdefault(grown, []).append(c)
    victim = min(of_worker, key=lambda p: len(of_worker[p]))
    awake = next(p for p in s.worker_pids() if p != victim)
    for c in of_worker[victim]:
        c.close()
    time.sleep(0.3)              # the other does not notice: nothing of its own has changed
    os.kill(victim, signal.SIGSTOP)
    try:
        ticks = cpu_ticks(awake)
        for _ in range(20):
            t0 = time.monotonic()
            with s.connect(timeout=5) as c:
                assert c.get("/").status == 200
            assert time.monotonic() - t0 < 0.1 * PATIENCE
        assert cpu_ticks(awake) - ticks < 50 * PATIENCE
    finally:
        os.kill(victim, signal.SIGCONT)
        for c in clients:
            c.close()


def test_a_burst_while_a_worker_is_stopped(serve):
    s = serve("builtin:hello", workers=2, env={"WORKER_TIMEOUT": "60s", "MAX_REQUESTS": "0"})
    victim = s.worker_pids()[0]
    clients = [s.connect() for _ in range(10)]
    for c in clients:
        assert c.get("/").status == 200
    os.kill(victim, signal.SIGSTOP)
    try:
        time.sleep(2)            # it has missed three beats: nobody reckons with it any more
        t0 = time.monotonic()
        burst = [s.connect() for _ in range(200)]
        for c in burst:
            c.send(GET)
        for c in burst:
            assert c.response().status == 200
            c.close()
        assert time.monotonic() - t0 < 0.5 * PATIENCE
    finally:
        os.kill(victim, signal.SIGCONT)
        for c in clients:
            c.close()
