# SPDX-License-Identifier: MIT
"""Bodies and answers in pieces."""
import gzip
import os
import zlib

import pytest

from lib import wait_until
from modules import Notes, errors, probe
from test_module_routes import checksum, idle


KINDS = ["pool", "async"]
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def s():
    with probe() as server:
        yield server


@pytest.fixture
def c(s):
    with s.connect() as client:
        yield client


# ---- bodies ----


@pytest.mark.parametrize("path", ["/pool/body", "/async/body", "/async/body?pauses=20"])
def test_bodies_in_pieces(s, c, path):
    for size in (0, 1, 70000, 3 * MEGABYTE): # above CLIENT_MAX_BODY_SIZE
        data = os.urandom(size)
        r = c.request("POST", path, {"Content-Length": str(size)}, body=data)
        assert (r.status, r.body.decode()) == (200, f"{size} {checksum(data)} {size}")
    c.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
           "Expect: 100-continue\r\n\r\n")
    assert c.read_line() == b"HTTP/1.1 100 Continue" and c.read_line() == b""
    c.send("3\r\nabc\r\n")
    c.send("3\r\ndef\r\n0\r\n\r\n")
    assert c.response().body.decode() == f"6 {checksum(b'abcdef')} 6"
    if "pauses" in path:
        assert Notes(s)._read()["paused"] >= 20


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_does_not_end(s, kind):
    notes = Notes(s)
    with s.connect() as c:
        c.send(f"POST /{kind}/body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        wait_until(lambda: notes["body_began"] == 1, what="the handler")
        c.reset()
    wait_until(lambda: notes["body_cut"] == 1, what="the handler to hear of it")
    with s.connect() as c:
        c.send(f"POST /{kind}/body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\n")
        wait_until(lambda: notes["body_began"] == 2, what="the handler")
        c.send("x\r\n")
        assert c.response().status == 400
    wait_until(lambda: notes["body_cut"] == 2, what="the handler to hear of it")
    wait_until(lambda: idle(s), what="the end of the requests")


def test_a_body_is_not_read_before_it_is_wanted(s):
    notes = Notes(s)
    with s.connect() as c:
        c.sock.settimeout(1)
        c.send("POST /pool/body?gate=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        wait_until(lambda: notes["gate_reached"], what="the handler")
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 100000000:
                sent += c.sock.send(bytes(MEGABYTE))
        assert s.status()["workers"][0]["rss_bytes"] < 600 * MEGABYTE
    s.get("/gate/open")
    wait_until(lambda: idle(s), what="the end")


# ---- answers ----


@pytest.mark.parametrize("kind", KINDS)
def test_answers_in_pieces(c, kind):
    for query, size in (("n=3&size=10", 30), ("n=0", 0), ("n=3000&size=1000", 3000000),
                        ("n=2&size=700000", 1400000)):
        r = c.get(f"/{kind}/pieces?{query}")
        assert (r.status, r.header("transfer-encoding"), len(r.body)) == (200, "chunked", size)
        r = c.get(f"/{kind}/pieces?{query}&total={size}")
        assert (r.status, r.header("content-length"), len(r.body)) == (200, str(size), size)
    assert c.get("/inline/pieces").body == b"-4"


@pytest.mark.parametrize("kind", KINDS)
def test_an_old_client_reads_to_the_end(s, kind):
    with s.connect() as c:
        r = c.request("GET", f"/{kind}/pieces?n=30&size=1000", version="HTTP/1.0")
        assert (r.header("transfer-encoding"), len(r.body)) == (None, 30000)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_whole_is_cut(s, kind):
    for query in ("ok=0", "total=20000", "total=20000&ok=0"):
        with s.connect() as c:
            c.send(f"GET /{kind}/pieces?n=10&size=1000&{query} HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises((EOFError, ConnectionResetError)):
                c.response()
    # An old client takes the end of the connection for that of the body: it is reset.
    with s.connect() as c, pytest.raises(ConnectionResetError):
        c.send(f"GET /{kind}/pieces?n=10&size=1000&ok=0 HTTP/1.0\r\nHost: a\r\n\r\n")
        while c.sock.recv(65536):
            pass
    # More than was announced is refused: what was written is not whole.
    notes = Notes(s)
    with s.connect() as c:
        c.send(f"GET /{kind}/pieces?n=10&size=1000&total=9999 HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises((EOFError, ConnectionResetError)):
            c.response()
    wait_until(lambda: notes["stream_refused" if kind == "pool" else "stream_cancelled"] == 1,
               what="the refusal")
    wait_until(lambda: idle(s), what="the end of all")


def test_a_stream_without_an_end_fails(s):
    before = errors(s, "handler_failed", "/pool/pieces")
    with s.connect() as c:
        c.send("GET /pool/pieces?leave=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises((EOFError, ConnectionResetError)):
            c.response()
    s.wait_log("handler /pool/pieces of probe returned in the midst of a stream")
    assert errors(s, "handler_failed", "/pool/pieces") - before == 1


@pytest.mark.parametrize("kind", KINDS)
def test_head_of_a_stream(s, c, kind):
    notes = Notes(s)
    r = c.request("HEAD", f"/{kind}/pieces?n=5&size=10&total=50")
    assert (r.status, r.header("content-length"), r.body) == (200, "50", b"")
    r = c.request("HEAD", f"/{kind}/pieces?n=5&size=10")
    assert r.status == 200
    if kind == "async": # it would write until somebody leaves
        c.request("HEAD", "/async/pieces?stay=1")
        wait_until(lambda: notes["async_stream_cancelled"] >= 1, what="the cancellation")
    wait_until(lambda: idle(s), what="the end of the handlers")
    assert c.get("/who").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_reader_holds_the_producer_up(s, kind):
    notes = Notes(s)
    before = s.status()["workers"][0]["rss_bytes"]
    with s.connect(rcvbuf=8192) as c:
        c.send(f"GET /{kind}/pieces?n=100000&size=1000 HTTP/1.1\r\nHost: a\r\n\r\n")
        c.read_exactly(1000)
        if kind == "pool":
            state = {}

            def stands():
                last, state["n"] = state.get("n"), notes["piece"]
                return state["n"] == last
            wait_until(stands, what="the handler to wait", interval=0.3)
            assert notes["piece"] < 50000
        else:
            wait_until(lambda: notes["again"] >= 1, what="the handler to be told")
        assert s.get("/who").status == 200
        assert s.status()["workers"][0]["rss_bytes"] - before < 64 * MEGABYTE
        r = c.read_exactly(200000)
        assert len(r) == 200000
        c.reset()
    note = "stream_cancelled" if kind == "pool" else "async_stream_cancelled"
    wait_until(lambda: notes[note] == 1, what="the handler to hear of it")
    wait_until(lambda: idle(s), what="the end of the handler")
    if kind == "async": # nobody leaves this time
        notes = Notes(s)
        with s.connect(rcvbuf=8192) as c:
            r = c.get("/async/pieces?n=3000&size=1000")
            assert r.body == b"p" * 3000000
        assert notes["again"] >= 1 and notes["stream_whole"] == 1


# ---- events ----


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_each_event_arrives_before_the_next(s, encoding):
    fields = f"Accept-Encoding: {encoding}\r\n" if encoding else ""
    with s.connect() as c:
        c.send(f"GET /sse HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
        version, status, _, headers = c._head()
        h = dict(headers)
        assert (version, status) == ("HTTP/1.1", 200)
        assert h["content-type"] == "text/event-stream"
        assert h["cache-control"] == "no-store"
        assert h["transfer-encoding"] == "chunked"
        assert h.get("content-encoding") == encoding
        unzip = zlib.decompressobj(31) if encoding else None
        text = b""
        for want in (b"event: one\nid: 1\ndata: first\n\n",
                     b"data: a\ndata: b\ndata: c\ndata: d\n\n", b"data: \n\n"):
            s.get("/gate/open")
            while want not in text:
                size = int(c.read_line(), 16)
                assert size > 0
                data = c.read_exactly(size + 2)[:-2]
                text += unzip.decompress(data) if unzip else data
        while c.read_line() != b"0": # the end of the gzip is a chunk, too
            assert encoding
        assert c.read_line() == b""
        assert text == (b"event: one\nid: 1\ndata: first\n\n"
                        b"data: a\ndata: b\ndata: c\ndata: d\n\ndata: \n\n")


# ---- compressed ----


def test_compressed_answers_of_modules(s, c):
    gz = {"Accept-Encoding": "gzip"}
    for path, want in (("/inline/answer?how=fill&n=100000", b"x" * 100000),
                       ("/pool/answer?how=fill&n=100000", b"x" * 100000),
                       ("/async/answer?how=ref&n=50000", b"\0" + b"r" * 49999),
                       ("/pool/answer?how=ref&n=50000", b"\0" + b"r" * 49999),
                       ("/async/pieces?n=200&size=1000", b"p" * 200000),
                       ("/pool/pieces?n=200&size=1000",
                        bytes(ord("a") + i % 26 for i in range(1000)) * 200)):
        r = c.request("GET", path, gz)
        assert r.header("content-encoding") == "gzip", path
        assert len(r.body) < len(want) / 10
        assert gzip.decompress(r.body) == want, path
        assert "Accept-Encoding" in (r.header("vary") or "")
    notes = Notes(s)
    for path in ("/pool/pieces?ok=0&n=100", "/async/pieces?ok=0&n=100"):
        with s.connect() as c2:
            c2.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
            with pytest.raises((EOFError, ConnectionResetError)):
                c2.response()
    r = c.request("HEAD", "/inline/answer?how=ref&n=50000", gz)
    assert r.status == 200
    wait_until(lambda: notes["released"] == 1, what="the release")
