# SPDX-License-Identifier: MIT
"""examples/: built as a user would, against what was installed, and each endpoint asked."""
import os
import re
import shutil
import subprocess
import time

import pytest

import lib
from lib import TOP, wait_until
from modules import compile_to, compiler

pytestmark = pytest.mark.sanitize
EXAMPLES = os.path.join(TOP, "examples")


@pytest.fixture(scope="module")
def example(installed, tmp_path_factory):
    """example(name) -> its shared object, compiled with the flags of its README."""
    out = tmp_path_factory.mktemp("examples")
    [pc] = [os.path.join(d, "capricorn.pc") for d, _, names in os.walk(installed)
            if "capricorn.pc" in names]
    env = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(pc)}

    def flags(*packages, **more):
        return subprocess.run(["pkg-config", "--cflags", "--libs", *packages], check=True,
                              env={**env, **more}, capture_output=True, text=True).stdout.split()

    def build(name):
        so = out / f"{name}.so"
        if not so.exists():
            [source] = [f for f in os.listdir(os.path.join(EXAMPLES, name)) if f.endswith(".c")]
            # What is installed lies in a sysroot; jansson does not.
            use = flags("capricorn", PKG_CONFIG_SYSROOT_DIR=installed)
            use += flags("jansson") if name == "json" else []
            cmd = [*compiler(), "-std=c11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared",
                   *[f for f in use if not f.startswith("-l")], "-pthread", "-o", str(so),
                   os.path.join(EXAMPLES, name, source), *[f for f in use if f.startswith("-l")]]
            r = subprocess.run(cmd, capture_output=True, text=True, check=False)
            assert r.returncode == 0, r.stderr
        return str(so)
    return build


def served(s, path, code):
    """How often /metrics and /status say that a route was answered so."""
    routes = s.get("/_capricorn/api/v1/performance/stats").json()["routes"]
    m = s.metrics().sum("capricorn_http_requests_total", route=path, code=code)
    assert any(r["route"] == path for r in routes)
    return m


def counted(s):
    return s.status()["totals"]["requests"]


def test_every_example_has_a_test_and_a_description():
    names = sorted(n for n in os.listdir(EXAMPLES) if os.path.isdir(os.path.join(EXAMPLES, n)))
    assert names == ["async", "blocking", "files", "hello", "json", "stream"]
    with open(os.path.join(EXAMPLES, "README.md"), encoding="utf-8") as f:
        index = f.read()
    for name in names:
        assert f"({name}/)" in index
        with open(os.path.join(EXAMPLES, name, "README.md"), encoding="utf-8") as f:
            text = f.read()
        assert "pkg-config" in text and "curl" in text
        assert "-std=c11" in text and f"capricorn ./{name}.so" in text.replace("notes.so", "json.so")


def test_hello(example):
    with lib.Server(example("hello"), workers=1) as s:
        r = s.get("/")
        assert (r.status, r.body) == (200, b"Hello, World!")
        assert r.header("content-type") == "text/plain; charset=utf-8"
        assert s.request("HEAD", "/").header("content-length") == "13"
        assert s.request("POST", "/").status == 405
        assert s.get("/none").status == 404
        assert served(s, "/", "200") == 2
        assert counted(s) == 4


def test_json(example):
    with lib.Server(example("json"), workers=1, config="module: {limit: 2}\n") as s:
        assert s.get("/notes").json() == []
        r = s.request("POST", "/notes", body='{"text": "caf\\u00e9"}')
        assert (r.status, r.header("location"), r.json()) == (201, "/notes/1",
                                                              {"id": 1, "text": "café"})
        assert s.request("POST", "/notes", body='{"text": "two"}').status == 201
        r = s.request("POST", "/notes", body='{"text": "three"}')
        assert (r.status, r.header("content-type")) == (507, "application/problem+json")
        assert s.get("/notes/2").json() == {"id": 2, "text": "two"}
        assert [n["id"] for n in s.get("/notes").json()] == [1, 2]
        for body, status in (("{", 400), ("", 400), ("[]", 422), ('{"text": 1}', 422)):
            assert s.request("POST", "/notes", body=body).status == status, body
        for path in ("3", "0", "x", "1x", "-1", "99999999999999999999"):
            assert s.get(f"/notes/{path}").status == 404, path
        assert s.metrics().sum("notes_held") == 2
        r = s.request("DELETE", "/notes/1")
        assert (r.status, r.body) == (204, b"")
        assert s.request("DELETE", "/notes/1").status == 404
        assert s.metrics().sum("notes_held") == 1
        assert s.request("POST", "/notes", body='{"text": "four"}').json()["id"] == 3
        assert s.metrics().sum("notes_created_total") == 3
        metrics = {m["name"]: m["value"] for m in s.status()["module"]["metrics"]}
        assert metrics == {"notes_created_total": 3, "notes_held": 2}
        r = s.request("PUT", "/notes/2")
        assert (r.status, r.header("allow")) == (405, "GET, HEAD, DELETE, OPTIONS")
        assert served(s, "/notes/{id}", "204") == 1
        assert served(s, "/notes", "201") == 3


def test_blocking(example):
    with lib.Server(example("blocking"), workers=1, env={"THREAD_POOL_SIZE": 2}) as s:
        begin = time.monotonic()
        assert s.get("/sleep?ms=100").json() == {"slept_ms": 100}
        assert time.monotonic() - begin >= 0.1
        for ms in ("-1", "60001"):
            assert s.get(f"/sleep?ms={ms}").status == 400
        with s.connect() as c, s.connect() as d: # two at once, and the loop goes on
            for x in (c, d):
                x.send("GET /sleep?ms=400 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert s.get("/sleep?ms=x").json() == {"slept_ms": 0}
            for x in (c, d):
                assert x.response().json() == {"slept_ms": 400}
        # Whose client leaves ends early.
        with s.connect() as c:
            c.send("GET /sleep?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: len(active(s)) == 2, what="the handler")
            c.reset()
        wait_until(lambda: len(active(s)) == 1, 5, "its end")
        assert served(s, "/sleep", "200") == 4
        assert not s.log_lines("ERROR")


def active(s):
    return s.get("/_capricorn/api/v1/performance/active-requests").json()["requests"]


def test_async(example):
    with lib.Server(example("async"), workers=1) as s:
        begin = time.monotonic()
        assert s.get("/later?ms=100").body == b"Now.\n"
        assert time.monotonic() - begin >= 0.1
        assert s.get("/later?ms=-1").status == 400
        assert s.get("/compute?n=20").body == b"6765\n"
        assert s.get("/compute?n=41").status == 400
        with s.connect() as c, s.connect() as d, s.connect() as e:
            for x in (c, d, e):
                x.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: len(active(s)) == 4, what="three that wait")
            e.reset()
            wait_until(lambda: len(active(s)) == 3, what="one to leave")
            assert s.request("POST", "/tell", body="word").body == b"told 2\n"
            assert c.response().body == d.response().body == b"word"
        assert s.request("POST", "/tell", body="word").body == b"told 0\n"
        with s.connect() as c:
            c.send("GET /later?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: len(active(s)) == 2, what="one that waits")
            c.reset()
            wait_until(lambda: len(active(s)) == 1, what="its end")
        assert served(s, "/wait", "200") == 2
        assert served(s, "/tell", "200") == 2
        assert not s.log_lines("ERROR")


def test_stream(example):
    with lib.Server(example("stream"), workers=1) as s:
        r = s.get("/count?to=5")
        assert (r.header("transfer-encoding"), r.body) == ("chunked", b"1\n2\n3\n4\n5\n")
        assert s.get("/count?to=100000").body.count(b"\n") == 100000
        text = b"Some Words 123 " * 20000
        r = s.request("POST", "/upper", body=text)
        assert r.body == text.upper()
        with s.connect() as c: # both ways at once: a piece comes back before the next is sent
            c.send("POST /upper HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert c._head()[1] == 200
            for piece in (b"abc", b"def"):
                c.send(b"3\r\n" + piece + b"\r\n")
                assert c.read_line() == b"3"
                assert c.read_exactly(5) == piece.upper() + b"\r\n"
            c.send("0\r\n\r\n")
            assert c.read_line() == b"0"
        with s.connect() as c:
            c.send("GET /clock HTTP/1.1\r\nHost: a\r\n\r\n")
            assert dict(c._head()[3])["content-type"] == "text/event-stream"
            for n in (1, 2):
                want = b"event: tick\ndata: %d\n\n" % n
                assert c.read_line() == b"%x" % len(want)
                assert c.read_exactly(len(want) + 2) == want + b"\r\n"
            c.reset()
        assert s.request("HEAD", "/clock").status == 200
        wait_until(lambda: len(active(s)) == 1, what="the end of the clocks")
        assert served(s, "/count", "200") == 2
        assert served(s, "/upper", "200") == 2
        assert not s.log_lines("ERROR")


def test_files(example, tmp_path):
    d = tmp_path / "www"
    d.mkdir()
    (d / "index.html").write_text("<p>front</p>")
    (d / "a.txt").write_text("0123456789")
    (tmp_path / "secret").write_text("secret")
    (d / "out").symlink_to("../secret")
    with lib.Server(example("files"), workers=1, config=f"module: {{directory: '{d}'}}\n") as s:
        r = s.get("/")
        assert (r.status, r.body) == (200, b"<p>front</p>")
        assert r.header("content-type").startswith("text/html")
        r = s.get("/files/a.txt")
        assert (r.status, r.body) == (200, b"0123456789")
        assert s.get("/files/a.txt", {"If-None-Match": r.header("etag")}).status == 304
        r = s.get("/files/a.txt", {"Range": "bytes=2-4"})
        assert (r.status, r.body) == (206, b"234")
        assert s.get("/files/none").status == 404
        assert s.get("/files/out").status == 403
        assert s.get("/files/%2e%2e/secret").status == 404
        assert served(s, "/files/*", "200") == 1
        assert served(s, "/files/*", "304") == 1
        assert counted(s) == 7


def test_files_needs_its_directory(example):
    r = lib.run(example("files"), "--bind", "127.0.0.1:0", "-w", "1")
    assert r.returncode == 4
    assert re.search("module: directory: is missing", r.stderr)
    assert shutil.which("pkg-config")
