# SPDX-License-Identifier: MIT
"""Requests as bytes, at builtin:echo: what is understood of a good one, the status of a bad one.
After a good one the connection goes on, and the next answer is the next request's; after a bad
one it ends."""
import json

import pytest

from lib import Server


NEXT = b"GET /next HTTP/1.1\r\nHost: n\r\n\r\n"


@pytest.fixture(scope="module")
def echo_server():
    with Server("builtin:echo", env={"LIMIT_REQUEST_FIELDS": 20, "LIMIT_REQUEST_LINE": 200,
                                     "LIMIT_REQUEST_FIELD_SIZE": 100,
                                     "CLIENT_MAX_BODY_SIZE": 1000}) as s:
        yield s


def get(target="/", host="a", fields=""):
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"


def post(fields, body="", target="/"):
    return f"POST {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"


CHUNKED = "Transfer-Encoding: chunked\r\n"

# name: (bytes, target, body_bytes)
GOOD = {
    "plain": (get("/a/b?c=d"), "/a/b?c=d", 0),
    "empty lines before": ("\r\n\r\n" + get(), "/", 0),
    "absolute": (get("http://b:80/c?d"), "http://b:80/c?d", 0),
    "absolute without path": (get("https://b"), "https://b", 0),
    "absolute with user": (get("http://u:p@b/"), "http://u:p@b/", 0),
    "asterisk": ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", 0),
    "dot segments": (get("/a/../../b"), "/a/../../b", 0),
    "marks": (get("/\"<>[]\\^`{|}"), "/\"<>[]\\^`{|}", 0),
    "utf-8 not encoded": (get("/\xc3\xa4"), "/ä", 0),
    "higher minor version": ("GET / HTTP/1.9\r\nHost: a\r\n\r\n", "/", 0),
    "method of no standard": ("A-B.C / HTTP/1.1\r\nHost: a\r\n\r\n", "/", 0),
    "white space around a value": (get(fields="A:\t b\t \r\nB:\r\n"), "/", 0),
    "odd name": (get(fields="!#$%&'*+-.^`|~: b\r\n"), "/", 0),
    "value above 0x7f": (get(fields="A: caf\xe9\r\n"), "/", 0),
    "host with port": (get(host="[::1]:8000"), "/", 0),
    "line at its limit": (get("/" + "x" * 186), "/" + "x" * 186, 0),
    "field at its limit": (get(fields="A: " + "x" * 95 + "\r\n"), "/", 0),
    "fields at their limit": (get(fields="".join(f"A{i}: b\r\n" for i in range(19))), "/", 0),
    "body with GET": ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "/", 3),
    "body of nothing": (post("Content-Length: 0\r\n"), "/", 0),
    "body": (post("content-LENGTH: 0005\r\n", "hello"), "/", 5),
    "body that looks like a request": (post(f"Content-Length: {len(NEXT)}\r\n", NEXT.decode()),
                                       "/", len(NEXT)),
    "chunked": (post(CHUNKED, "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), "/", 11),
    "chunked, in capitals": (post("TRANSFER-ENCODING: CHUNKED\r\n",
                                  "A\r\n0123456789\r\n00\r\n\r\n"), "/", 10),
    "chunked, nothing": (post(CHUNKED, "0\r\n\r\n"), "/", 0),
    "extensions": (post(CHUNKED, "1;a;b=c ; d=\"\\\"e;\"\r\nx\r\n0;f\r\n\r\n"), "/", 1),
    "trailers": (post(CHUNKED, "1\r\nx\r\n0\r\nA: b\r\nContent-Type: c/d\r\n\r\n"), "/", 1),
    "body at its limit": (post("Content-Length: 1000\r\n", "x" * 1000), "/", 1000),
    "chunks at the limit of bodies": (post(CHUNKED, "3e8\r\n" + "x" * 1000 + "\r\n0\r\n\r\n"), "/",
                                      1000),
}

# name: (bytes, status)
BAD = {
    "no version": ("GET /\r\n\r\n", 400),
    "version in lower case": ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    "version of two digits": ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    "version 2.0": ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "preface of HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "version 0.9": ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    "TLS": ("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400),
    "two spaces": ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space behind the version": ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    "space before the method": (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tab in the request line": ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "method in lower case": ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "method with NUL": ("GET\0 / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space in the target": (get("/a b"), 400),
    "fragment": (get("/a#b"), 400),
    "control in the target": (get("/a\x01"), 400),
    "DEL in the target": (get("/a\x7f"), 400),
    "relative target": (get("a/b"), 400),
    "asterisk with GET": (get("*"), 400),
    "authority with GET": (get("a:80"), 400),
    "CONNECT to a path": ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT without port": ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "another scheme": (get("ftp://a/"), 400),
    "no host in the target": (get("http:///a"), 400),
    "encoded NUL": (get("/a%00b"), 400),
    "percent without digits": (get("/a%zz"), 400),
    "bare LF": ("GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare LF behind a field": ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    "bare LF at the end": ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    "bare CR": ("GET / HTTP/1.1\rHost: a\r\r", 400),
    "bare CR in a value": (get(fields="A: b\rc\r\n"), 400),
    "CR before a name": (get(fields="\rA: b\r\n"), 400),
    "continued line": (get(fields="A: b\r\n c\r\n"), 400),
    "continued first line": ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "space before the colon": (get(fields="A : b\r\n"), 400),
    "no colon": (get(fields="A\r\n"), 400),
    "empty name": (get(fields=": b\r\n"), 400),
    "brackets in a name": (get(fields="A[]: b\r\n"), 400),
    "name above 0x7f": (get(fields="\xc3\xa4: b\r\n"), 400),
    "NUL in a value": (get(fields="A: b\0\r\n"), 400),
    "control in a value": (get(fields="A: b\x07\r\n"), 400),
    "DEL in a value": (get(fields="A: b\x7f\r\n"), 400),
    "no Host": ("GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (get(fields="Host: a\r\n"), 400),
    "empty Host": (get(host=""), 400),
    "list of Hosts": (get(host="a, b"), 400),
    "Host with a path": (get(host="a/b"), 400),
    "Host with a user": (get(host="u@a"), 400),
    "bad Host beside a good target": (get("http://a/", host="a b"), 400),
    "two Content-Types": (get(fields="Content-Type: a/b\r\nContent-Type: c/d\r\n"), 400),
    "another expectation": (get(fields="Expect: something\r\n"), 417),
    "long line": (get("/" + "x" * 187), 414),
    "endless line": ("GET /" + "x" * 5000, 414),
    "long field": (get(fields="A: " + "x" * 96 + "\r\n"), 431),
    "endless field": ("GET / HTTP/1.1\r\nA: " + "x" * 5000, 431),
    "endless name": ("GET / HTTP/1.1\r\n" + "x" * 5000, 431),
    "many fields": (get(fields="".join(f"A{i}: b\r\n" for i in range(20))), 431),
    "announced body too large": (post("Content-Length: 1001\r\n"), 413),
    "chunked body too large": (post(CHUNKED, "3e9\r\n" + "x" * 1001), 413),
}


def check_echo(r, target, body_bytes):
    assert r.status == 200
    said = json.loads(r.body)
    assert (said["target"], said["body_bytes"]) == (target, body_bytes)


@pytest.mark.parametrize("name", GOOD)
def test_good(echo_server, name):
    raw, target, body_bytes = GOOD[name]
    with echo_server.connect() as c:
        c.send(raw.encode("latin-1") + NEXT)
        check_echo(c.response(), target, body_bytes)
        check_echo(c.response(), "/next", 0)
        c.send(NEXT)
        check_echo(c.response(), "/next", 0)


@pytest.mark.parametrize("name", GOOD)
def test_good_in_pieces(echo_server, name):
    raw, target, body_bytes = GOOD[name]
    with echo_server.connect() as c:
        c.send_slowly(raw.encode("latin-1") + NEXT, piece=1 if len(raw) < 300 else 37)
        check_echo(c.response(), target, body_bytes)
        check_echo(c.response(), "/next", 0)


def check_refusal(c, status):
    r = c.response()
    assert r.status == status, r
    assert r.header("connection") == "close"
    assert r.header("content-type") == "application/problem+json"
    problem = r.json()
    assert problem["status"] == status and problem["detail"]
    assert c.is_closed()


@pytest.mark.parametrize("name", BAD)
def test_bad(echo_server, name):
    raw, status = BAD[name]
    before = echo_server.metrics().sum("capricorn_http_requests_total", code=200)
    with echo_server.connect() as c:
        c.send(raw)
        check_refusal(c, status)
    after = echo_server.metrics().sum("capricorn_http_requests_total", code=200)
    assert after == before, "the handler has seen it"


@pytest.mark.parametrize("name", [n for n, (raw, _) in BAD.items() if len(raw) < 300])
def test_bad_in_pieces(echo_server, name):
    raw, status = BAD[name]
    with echo_server.connect() as c:
        try:
            c.send_slowly(raw.encode("latin-1"))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before its end
        check_refusal(c, status)


@pytest.mark.parametrize("name", ["bare LF", "version 2.0", "two Hosts", "long field"])
def test_bad_behind_a_good_one(echo_server, name):
    raw, status = BAD[name]
    with echo_server.connect() as c:
        c.send(NEXT + raw.encode("latin-1") + NEXT)
        check_echo(c.response(), "/next", 0)
        check_refusal(c, status)


def test_what_echo_says(echo_server):
    with echo_server.connect() as c:
        c.send("PUT /x?y HTTP/1.1\r\nHost: a\r\nA-b:  c \r\nX_Y: dropped\r\na-B: d\r\n"
               "Content-Length: 2\r\n\r\nok")
        said = c.response().json()
    assert said["method"] == "PUT"
    assert said["version"] == "HTTP/1.1"
    assert said["client"] == "127.0.0.1"
    assert said["body_bytes"] == 2
    assert said["headers"] == [["Host", "a"], ["A-b", "c"], ["a-B", "d"], ["Content-Length", "2"]]


def test_http_1_0_needs_no_host(echo_server):
    with echo_server.connect() as c:
        c.send("GET /old HTTP/1.0\r\n\r\n" + NEXT.decode())
        r = c.response()
        check_echo(r, "/old", 0)
        assert r.json()["version"] == "HTTP/1.0"
        assert c.is_closed(), "the second request must not be answered"


def test_connection_close_ends_it(echo_server):
    with echo_server.connect() as c:
        c.send(get(fields="Connection: x, Close\r\n").encode() + NEXT)
        check_echo(c.response(), "/", 0)
        assert c.is_closed()


def test_connect_is_answered_and_closed(echo_server):
    with echo_server.connect() as c:
        c.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
        r = c.response("CONNECT")
        assert (r.status, r.body) == (200, b"")
        assert r.header("content-length") is None and r.header("transfer-encoding") is None
        assert c.is_closed()


def test_upgrade_is_not_taken(echo_server):
    with echo_server.connect() as c:
        c.send(get(fields="Connection: Upgrade\r\nUpgrade: websocket\r\n").encode() + NEXT)
        check_echo(c.response(), "/", 0)
        check_echo(c.response(), "/next", 0)


def test_head(echo_server):
    with echo_server.connect() as c:
        c.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT)
        r = c.response("HEAD")
        assert r.status == 200 and int(r.header("content-length")) > 0
        check_echo(c.response(), "/next", 0)


def test_text_for_those_who_ask(echo_server):
    with echo_server.connect() as c:
        # a head that is understood, and a body that is too large: Accept is known
        c.send(post("Accept: text/plain\r\nContent-Length: 1001\r\n"))
        r = c.response()
        assert r.status == 413
        assert r.header("content-type").startswith(("text/plain", "application/problem+json"))


def test_head_limit(serve):
    s = serve("builtin:echo", env={"LIMIT_REQUEST_FIELDS": 1000, "LIMIT_REQUEST_FIELD_SIZE": 8190})
    with s.connect() as c:
        try:
            c.send("GET / HTTP/1.1\r\nHost: a\r\n" + "".join(
                f"A{i}: {'x' * 8000}\r\n" for i in range(999)) + "\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            assert c.response().status in (200, 431)
        except (ConnectionResetError, EOFError):
            pass  # the answer was lost under what was still being sent
    assert s.get("/").status == 200
