# SPDX-License-Identifier: MIT
"""What handlers of each kind are asked and may answer: routes, bodies, answers, pipelining."""
import os

import pytest

from lib import SANITIZED, wait_until
from modules import Notes, errors, probe

KINDS = ["inline", "pool", "async"]


@pytest.fixture(scope="module")
def s():
    with probe() as server:
        yield server


@pytest.fixture
def c(s):
    with s.connect() as client:
        yield client


def idle(s):
    """No request but the one that asks, and no handler that runs on after its own."""
    rows = s.get("/_capricorn/api/v1/performance/active-requests").json()["requests"]
    return len(rows) == 1


def checksum(data):
    total = 0
    for b in data:
        total = (total * 31 + b) & (1 << 64) - 1
    return total


# ---- routes ----


def test_most_specific_first(c):
    for path, kind, id_, rest in (("/route/literal", "literal", "-", "-"),
                                  ("/route/other", "param", "other", "-"),
                                  ("/route/", "rest", "-", ""),
                                  ("/route/a/b", "rest", "-", "a/b")):
        r = c.get(path)
        text = r.body.decode()
        assert r.status == 200, path
        assert f"kind={kind} " in text and f" id={id_} " in text and f" rest={rest} " in text


def test_methods(c):
    assert c.request("PUT", "/route/put").status == 200
    assert c.request("PATCH", "/route/put").status == 200
    # {id} and "*" take GET there.
    r = c.request("DELETE", "/route/put")
    assert r.status == 405
    allow = r.header("allow").split(", ")
    assert sorted(allow) == ["GET", "HEAD", "OPTIONS", "PATCH", "PUT"]
    r = c.request("OPTIONS", "/route/put")
    assert (r.status, sorted(r.header("allow").split(", "))) == (204, sorted(allow))
    assert c.request("OPTIONS", "*").status == 204
    assert c.request("DELETE", "/who").status == 405
    assert c.get("/nowhere").status == 404
    r = c.request("HEAD", "/who")
    assert (r.status, r.body) == (200, b"")
    assert int(r.header("content-length")) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_known_of_a_request(s, c, kind):
    r = c.request("POST", f"/{kind}/info/a%20b/x/./y/../z%2Fq?p=1&q=a+%41%00&q=2",
                  {"X-Probe": " v ", "X-Request-Id": "given-id", "Last": "one"}, body="12345")
    text = r.body.decode("latin-1")
    assert text == (f"kind={kind} method=POST path=/{kind}/info/a b/x/z%2Fq "
                    f"target=/{kind}/info/a%20b/x/./y/../z%2Fq?p=1&q=a+%41%00&q=2 "
                    "query=p=1&q=a+%41%00&q=2 q=a A id=a b rest=x/z%2Fq minor=1 "
                    "client=127.0.0.1 peer=127.0.0.1 request=given-id probe=v "
                    "last=Content-Length:5 bytes=5\n").replace(
                        "client=127.0.0.1 peer=127.0.0.1",
                        text[text.index("client="):text.index(" request=")])
    assert "client=127.0.0.1" in text
    r = c.request("GET", f"/{kind}/info/1/", {"X-Forwarded-For": "192.0.2.9, 192.0.2.7"})
    assert b"client=192.0.2.7" in r.body and b"peer=127.0.0.1" in r.body
    assert b"query=- q=- id=1 rest= " in r.body


def test_route_names_are_labels(s):
    before = s.metrics()
    s.get("/who")
    s.get("/pool/info/1/2")
    after = s.metrics()

    def more(route):
        return after.sum("capricorn_http_requests_total", route=route) - \
            before.sum("capricorn_http_requests_total", route=route)
    assert more("who is it") == 1
    assert more("/pool/info/{id}/*") == 1


# ---- declining ----

DECLINES = [f"{a}-{b}" for a in ("inline", "pool", "async", "stream") for b in KINDS]


@pytest.mark.parametrize("pair", DECLINES)
def test_decline_to_the_next(s, pair):
    body = os.urandom(200)
    large = body * 1000 # above what is kept in memory, and above what a flow takes
    with s.connect() as c:
        for method, data in (("GET", b""), ("POST", body), ("POST", large), ("GET", b"")):
            r = c.request(method, f"/d/{pair}/x", body=data)
            want = f"{pair.split('-')[1]} {len(data)} {checksum(data)} x"
            assert (r.status, r.body.decode()) == (200, want)
            assert r.header("x-declined") is None
        c.send(f"POST /d/{pair}/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        c.send("5\r\nhello\r\n")
        c.send("1\r\n!\r\n0\r\n\r\n")
        assert c.response().body.decode() == f"{want.split()[0]} 6 {checksum(b'hello!')} x"


@pytest.mark.parametrize("pair", ["stream-streamed", "stream-asyncbody", "whole-asyncbody"])
@pytest.mark.parametrize("size", [0, 100, 200000])
def test_a_body_that_had_begun_to_come_is_whole_for_the_next(s, c, pair, size):
    data = os.urandom(size)
    r = c.request("POST", f"/d/{pair}/x?pauses=2", body=data)
    assert (r.status, r.body.decode()) == (200, f"{size} {checksum(data)} {size}")
    # The first handler lets the body come before it declines.
    notes = Notes(s)
    c.send(f"POST /d/{pair}/x?hold=1 HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")
    c.send(data[:150])
    if size > 150 and pair == "whole-asyncbody":
        c.send(data[150:])
    wait_until(lambda: notes["gate_reached"], what="the handler")
    s.get("/gate/open")
    if not (size > 150 and pair == "whole-asyncbody"):
        c.send(data[150:])
    r = c.response()
    assert (r.status, r.body.decode()) == (200, f"{size} {checksum(data)} {size}")


def test_declined_by_all(s, c):
    r = c.get("/d/nobody/wants/this")
    assert r.status == 404
    assert r.header("x-declined") is None
    r = c.get("/none/x")
    assert r.status == 404
    # The answer is out, the rest of the body is not in, and the client shuts its side.
    with s.connect() as c2:
        c2.send("POST /none/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
        assert c2.response().status == 404
        c2.shutdown()
        assert c2.is_closed()
    assert s.get("/who").status == 200


def test_declining_after_reading_of_the_body_fails(s, c):
    r = c.request("POST", "/d/stream-inline/x?read=1", body=b"12345")
    assert r.status == 500
    s.wait_log("declined after it had read of the body")


def test_the_next_handler_has_limits_of_its_own(s, c):
    assert c.request("POST", "/d/small/x", body="1234567890").status == 200
    with s.connect() as c2:
        assert c2.request("POST", "/d/small/x", body="12345678901").status == 413
    wait_until(lambda: idle(s), what="the end of the request")


def test_the_next_handler_hears_that_the_client_has_gone(s):
    notes = Notes(s)
    with s.connect() as c:
        c.send("GET /d/pool-hold/x HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: notes["async_began"], what="the second handler")
        c.reset()
    wait_until(lambda: notes["async_cancelled"], what="the cancellation")


def test_the_next_handler_may_fail(s, c):
    r = c.get("/d/pool-fails/x?how=negative")
    assert r.status == 500


# ---- bodies ----


@pytest.mark.parametrize("kind", KINDS)
def test_bodies(s, kind):
    for size in (0, 1, 1000, 65536, 65537, 300000):
        data = os.urandom(size)
        with s.connect() as c:
            for _ in range(2):
                r = c.request("POST", f"/{kind}/echo", {"Content-Length": str(size)}, body=data)
                assert (r.status, r.body) == (200, data)
    # In pieces of any size, and only after a word.
    with s.connect() as c:
        c.send(f"POST /{kind}/echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
               "Transfer-Encoding: chunked\r\n\r\n")
        assert c.read_line() == b"HTTP/1.1 100 Continue"
        assert c.read_line() == b""
        c.send_slowly(b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n", piece=2)
        assert c.response().body == b"abcdefg"
        assert c.get("/who").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_limits_of_bodies(s, kind):
    for path, size, status in (("small", 10, 200), ("small", 11, 413), ("echo", 1 << 20, 200),
                               ("echo", (1 << 20) + 1, 413), ("large", 3000000, 200),
                               ("large", 3000001, 413)):
        with s.connect() as c:
            c.send(f"POST /{kind}/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")
            if status == 200:
                c.send(b"x" * size)
            assert c.response().status == status, (path, size)
    with s.connect() as c: # not announced
        c.send(f"POST /{kind}/small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               "6\r\nabcdef\r\n5\r\nghijk\r\n0\r\n\r\n")
        assert c.response().status == 413


def test_a_client_that_leaves_in_the_midst_of_a_body(s):
    for kind in KINDS:
        for half in (100, 100000):
            with s.connect() as c:
                c.send(f"POST /{kind}/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
                c.send(b"x" * half)
                c.reset()
    wait_until(lambda: idle(s), what="the end of the requests")


# ---- order ----


def test_pipelined_requests_of_all_kinds_keep_their_order(s):
    kinds = [KINDS[i * 7 % 3] for i in range(60)]
    with s.connect() as c:
        c.send("".join(f"POST /{k}/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{i:02}"
                       for i, k in enumerate(kinds)))
        assert [r.body for r in c.responses(60)] == [b"%02d" % i for i in range(60)]
        c.send("GET /async/hold?ms=50 HTTP/1.1\r\nHost: a\r\n\r\n"
               "GET /async/thread HTTP/1.1\r\nHost: a\r\n\r\n"
               "GET /d/pool-async/x HTTP/1.1\r\nHost: a\r\n\r\n"
               "GET /pool/pieces?n=3&size=4 HTTP/1.1\r\nHost: a\r\n\r\n"
               "GET /async/post HTTP/1.1\r\nHost: a\r\n\r\n"
               "GET /inline/answer HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [r.body for r in c.responses(6)] == \
            [b"async", b"thread", b"async 0 0 x", b"abcd" * 3, b"posted", b"text"]


@pytest.mark.parametrize("kind", KINDS)
def test_ends_of_connections(s, kind):
    with s.connect() as c:
        r = c.request("GET", f"/{kind}/answer", close=True)
        assert r.header("connection") == "close"
        assert c.is_closed()
    with s.connect() as c:
        r = c.request("GET", f"/{kind}/answer", version="HTTP/1.0")
        assert r.body == b"text"
        assert c.is_closed()
    with s.connect() as c:
        for _ in range(2):
            r = c.request("GET", f"/{kind}/answer", {"Connection": "keep-alive"},
                          version="HTTP/1.0")
            assert r.header("connection") == "keep-alive"
    with s.connect() as c: # a client that shuts its side waits for the answer
        c.send(f"GET /{kind}/answer HTTP/1.1\r\nHost: a\r\n\r\n")
        c.shutdown()
        assert c.response().body == b"text"
        assert c.is_closed()


# ---- answers ----


@pytest.mark.parametrize("kind", KINDS)
def test_answers(c, kind):
    path = f"/{kind}/answer?how="
    r = c.get(path + "text")
    assert (r.status, r.header("content-type")) == (200, "text/plain; charset=utf-8")
    r = c.get(path + "json")
    assert (r.status, r.header("content-type"), r.json()) == (201, "application/json", {"a": 1})
    r = c.get(path + "empty")
    assert (r.status, r.header("content-length"), r.header("content-type")) == (204, None, None)
    r = c.get(path + "problem")
    assert (r.status, r.header("content-type")) == (418, "application/problem+json")
    assert r.json()["detail"] == 'A teapot: "short" & stout.'
    r = c.request("GET", path + "problem", {"Accept": "text/plain"})
    assert (r.status, r.header("content-type")) == (418, "text/plain; charset=utf-8")
    assert c.get(path + "copied").body == b"before"
    for status, body in ((199, b"refused"), (600, b"refused"), (599, b"x"), (200, b"x")):
        assert c.get(path + f"status&n={status}").body == body
    r = c.request("HEAD", path + "ref&n=1000")
    assert (r.status, r.header("content-length")) == (200, "1000")


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_given_back_once(s, kind):
    notes = Notes(s)
    with s.connect() as c:
        for how, n in (("ref", 5), ("ref", 100000), ("fill", 5), ("fill", 100000)):
            r = c.get(f"/{kind}/answer?how={how}&n={n}")
            assert len(r.body) == n
        for how in ("ref", "fill"):
            r = c.request("HEAD", f"/{kind}/answer?how={how}&n=100000")
            assert r.header("content-length") == "100000"
    wait_until(lambda: notes["released"] >= 6, what="six released")
    for how in ("ref", "fill"):
        with s.connect(rcvbuf=4096) as c: # it leaves with the answer half written
            c.send(f"GET /{kind}/answer?how={how}&n=20000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            c.read_exactly(1000)
            c.reset()
    with s.connect() as c:
        c.send(f"GET /{kind}/answer?how=fill-fails&n=100 HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises((EOFError, ConnectionResetError)):
            c.response()
    wait_until(lambda: notes["released"] >= 9, what="nine released")
    assert notes["released"] == 9


@pytest.mark.parametrize("kind", KINDS)
def test_failures_are_a_500_by_name(s, c, kind):
    before = errors(s, "handler_failed")
    for how, why in (("negative", r"returned -7 \(a file"), ("own", r"returned -77 "),
                     ("none", "returned without an answer")):
        r = c.request("GET", f"/{kind}/answer?how={how}", {"X-Request-Id": f"{kind}-{how}"})
        assert (r.status, r.json()["status"]) == (500, 500)
        s.wait_log(f"handler /{kind}/answer of probe {why}.*request {kind}-{how}")
    assert errors(s, "handler_failed") - before == 3


@pytest.mark.parametrize("kind", KINDS)
def test_answering_twice(s, c, kind):
    notes, before = Notes(s), errors(s, "twice", f"/{kind}/answer")
    r = c.get(f"/{kind}/answer?how=twice")
    assert (r.status, r.body) == (200, b"first")
    assert notes["told_twice"] == 1
    assert s.wait_log(f"handler /{kind}/answer of probe answered a request twice")
    wait_until(lambda: errors(s, "twice", f"/{kind}/answer") - before == 1, what="the count")


def test_answering_twice_from_a_thread(s, c):
    notes = Notes(s)
    assert c.get("/async/thread?twice=1").body == b"t" * 100000
    wait_until(lambda: notes["told_twice"] == 1 and notes["released"] == 1, what="a note")
    assert notes["not_told"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_fields(c, kind):
    def rc(name, value):
        r = c.get(f"/{kind}/fields?n={name}&v={value}")
        return int(r.body), r.header(name) if name else None
    assert rc("X-Mine", "some+text%09tab") == (0, "some text\ttab")
    assert rc("Set-Cookie", "a=b") == (0, "a=b")
    for name in ("Content-Length", "transfer-encoding", "CONNECTION", "Date", "Content-Type",
                 "X-Request-Id"):
        assert rc(name, "1")[0] == -4, name
    for name, value in (("", "x"), ("a%20b", "x"), ("a:", "x"), ("X", "a%0d%0aEvil:%201"),
                        ("X", "a%00b"), ("X", "%01")):
        code = int(c.get(f"/{kind}/fields?n={name}&v={value}").body)
        if "%00" not in value: # the text ends there: nothing bad is left of it
            assert code == -4, (name, value)
    r = c.get(f"/{kind}/fields?fill=1")
    code, n = map(int, r.body.split())
    assert (code, sum(name.startswith("x-fill-") for name, _ in r.headers)) == (-6, n // 42)
    assert 4000 < n <= 4096


@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_a_request(c, kind):
    if SANITIZED and kind != "inline":
        pytest.skip("once is enough: it is slow there")
    assert c.get(f"/{kind}/memory").body == b"good"
