# SPDX-License-Identifier: MIT
"""The built-in apps: what each answers, byte for byte."""
import hashlib
import json
import os
import random

import pytest

from lib import wait_until


def blob(n, seed=1):
    return random.Random(seed).randbytes(n)


# ---- builtin:api ----


def test_api_root(server):
    r = server.get("/")
    doc = r.json()
    assert r.status == 200 and r.header("content-type") == "application/json"
    assert doc["name"] == "capricorn"
    assert doc["uptime_seconds"] >= 0
    for line in doc["endpoints"]:
        method, path = line.split(" ")
        got = server.request(method, path)
        assert got.status in (200, 503), line


def test_api_echo_is_byte_for_byte(server):
    with server.connect() as c:
        for n in (1, 2, 1000, 4095, 4096, 65535, 65536, 65537, 200000, 3 << 20):
            body = blob(n, n)
            r = c.request("POST", "/echo", {"Content-Type": "application/x-thing; a=\"b\""}, body)
            assert r.status == 200, n
            assert r.header("content-type") == "application/x-thing; a=\"b\""
            assert hashlib.sha256(r.body).digest() == hashlib.sha256(body).digest(), n


@pytest.mark.parametrize("sizes", [[0], [1], [10, 0], [65536, 1, 0], [40000] * 5 + [0]])
def test_api_echo_chunked(server, sizes):
    pieces = [blob(n, i) for i, n in enumerate(sizes) if n]
    coded = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
    with server.connect() as c:
        r = c.request("POST", "/echo", {"Transfer-Encoding": "chunked"}, coded)
        assert r.status == 200
        assert r.body == b"".join(pieces)
        assert c.get("/livez").status == 200  # the connection is in step


def test_api_echo_without_a_body(server):
    r = server.request("POST", "/echo")
    assert (r.status, r.body) == (200, b"")
    assert r.header("content-type") == "application/octet-stream"
    assert server.request("POST", "/echo", {"Content-Length": "0"}).body == b""


def test_api_echo_continue(server):
    with server.connect() as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
               "Expect: 100-continue\r\n\r\n")
        assert c.read_line() == b"HTTP/1.1 100 Continue"
        assert c.read_line() == b""
        c.send("abc")
        assert c.response("POST").body == b"abc"


def test_api_echo_bounds_what_it_repeats(server):
    r = server.request("POST", "/echo", {"Content-Type": "a/" + "b" * 2000}, b"x")
    assert r.status == 431
    r = server.request("POST", "/echo", {"Content-Type": "a/" + "b" * 1000}, b"x")
    assert r.status == 200 and len(r.header("content-type")) == 1002


def test_api_methods_and_paths(server):
    r = server.request("DELETE", "/")
    assert (r.status, r.header("allow")) == (405, "GET, HEAD, OPTIONS")
    r = server.get("/echo")
    assert (r.status, r.header("allow")) == (405, "POST, OPTIONS")
    r = server.request("HEAD", "/")
    assert r.status == 200 and int(r.header("content-length")) > 10 and r.body == b""
    r = server.get("/nothing/here")
    assert r.status == 404 and r.header("content-type") == "application/problem+json"
    assert r.json()["request_id"] == r.header("x-request-id")
    with server.connect() as c:
        r = c.request("OPTIONS", "*")
        assert r.status == 204 and "POST" in r.header("allow")


def test_api_paths_are_normalised(server):
    for path in ("/./livez", "/a/../livez", "/%6civez", "/livez?x=1"):
        assert server.get(path).json()["status"] == "alive", path


def test_api_a_client_that_leaves_in_its_body(server):
    for n in (10, 100000):
        with server.connect() as c:
            c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + blob(n))
    assert server.request("POST", "/echo", body=b"still here").body == b"still here"


def test_api_kept_bodies_leave_nothing(serve, tmp_path):
    s = serve(workers=1, env={"TMPDIR": tmp_path})
    pid = s.worker_pids()[0]
    before = len(os.listdir(f"/proc/{pid}/fd"))
    with s.connect() as c:
        for _ in range(20):
            assert len(c.request("POST", "/echo", body=blob(100000)).body) == 100000
        # Only the connection's own is left; a body's is closed just after its last byte left.
        wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before + 1, 5, "closed bodies")
    assert os.listdir(tmp_path) == []


# ---- builtin:echo ----


def test_echo_says_what_was_understood(echo):
    with echo.connect() as c:
        c.send(b"PATCH /a%20b/./c?x=1&x=2 HTTP/1.1\r\nHost: example.org\r\n"
               b"X-A: 1\r\nx-a:  two \t\r\nX-Odd: \xe9\"\\\xc3\xa9\r\n"
               b"Content-Length: 5\r\n\r\nhello")
        r = c.response()
    doc = r.json()
    assert r.status == 200
    assert doc["method"] == "PATCH"
    assert doc["target"] == "/a%20b/./c?x=1&x=2"
    assert doc["version"] == "HTTP/1.1"
    assert doc["client"] == "127.0.0.1"
    assert doc["body_bytes"] == 5
    assert doc["headers"] == [["Host", "example.org"], ["X-A", "1"], ["x-a", "two"],
                              ["X-Odd", "é\"\\é"], ["Content-Length", "5"]]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH",
                                    "PROPFIND", "M-SEARCH"])
def test_echo_takes_any_method(echo, method):
    assert echo.request(method, "/x").json()["method"] == method


def test_echo_many_and_large_fields(echo):
    fields = {f"X-Field-{i}": chr(33 + i % 90) * 80 for i in range(90)}
    doc = echo.get("/", fields).json()
    got = dict(doc["headers"])
    assert all(got[k] == v for k, v in fields.items())
    r = echo.get("/", {"X-Big": "\xff" * 8000})
    assert dict(json.loads(r.body)["headers"])["X-Big"] == "\xff" * 8000


def test_echo_client_behind_a_proxy(echo):
    assert echo.get("/", {"X-Forwarded-For": "9.9.9.9, 8.8.8.8"}).json()["client"] == "8.8.8.8"


def test_echo_bytes(echo):
    with echo.connect() as c:
        for n in (0, 1, 63, 64, 65, 1000, 65536, 1000003):
            r = c.get(f"/?bytes={n}")
            assert r.status == 200 and len(r.body) == n
            assert r.header("content-length") == str(n)
        full = c.get("/?a=b&bytes=500").body
        assert full.startswith(b"0123456789abc")
        assert c.request("HEAD", "/?bytes=12345").header("content-length") == "12345"
        for bad in ("", "-1", "1x", "+5", "9" * 30):
            assert c.get(f"/?bytes={bad}").status == 400, bad
        assert "method" in c.get("/?nbytes=5").json()


def test_echo_bytes_after_a_body(echo):
    with echo.connect() as c:
        r = c.request("POST", "/?bytes=10", body=blob(200000))
        assert len(r.body) == 10
        assert c.get("/").status == 200


def test_echo_connect(echo):
    with echo.connect() as c:
        c.send("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
        r = c.response("CONNECT")
        assert r.status == 200 and r.header("content-length") is None
        assert r.header_all("connection") == ["close"]
        assert c.is_closed(5)


# ---- builtin:hello ----


def test_hello(serve):
    s = serve("builtin:hello")
    for method, path in (("GET", "/"), ("POST", "/any/path"), ("DELETE", "/x?y=z")):
        r = s.request(method, path)
        assert (r.status, r.body) == (200, b"Hello, World!")
        assert r.header("content-type") == "text/plain"
        assert r.header("content-length") == "13"
    assert s.get("/livez").body == b"Hello, World!"  # the built-in paths are under their prefix
    assert s.get("/_capricorn/livez").json() == {"status": "alive"}
