# SPDX-License-Identifier: MIT
"""The examples: built as a user would, against the installed header alone, and asked everything."""
import hashlib
import os
import subprocess
import threading
import time

import pytest

import lib
from lib import wait_until
from modules import compiler

SOURCES = {"hello": "hello/hello.c", "json": "json/notes.c", "blocking": "blocking/blocking.c",
           "async": "async/async.c", "stream": "stream/stream.c", "files": "files/files.c",
           "limited": "limited/limited.c", "cached": "cached/cached.c"}


@pytest.fixture(scope="session")
def example(installed, tmp_path_factory):
    """example(name) -> path of the module."""
    where = tmp_path_factory.mktemp("examples")
    pc = subprocess.run(["find", installed, "-name", "capricorn.pc"], capture_output=True,
                        text=True, check=True).stdout.strip()
    env = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(pc),
           "PKG_CONFIG_SYSROOT_DIR": installed}
    cflags = subprocess.run(["pkg-config", "--cflags", "capricorn"], env=env, capture_output=True,
                            text=True, check=True).stdout.split()
    made = {}

    def build(name):
        if name not in made:
            out = str(where / f"{name}.so")
            libs = ["-ljansson"] if name == "json" else []
            subprocess.run([*compiler(), "-std=c11", "-Wall", "-Wextra",
                            "-Werror", "-O2", "-g", "-fPIC", "-shared", *cflags, "-o", out,
                            os.path.join(lib.TOP, "examples", SOURCES[name]), *libs], check=True)
            made[name] = out
        return made[name]
    os.chmod(where, 0o755)
    return build


def test_hello(serve, example):
    s = serve(example("hello"), workers=2)
    assert s.get("/").body == b"Hello, World!"
    r = s.request("HEAD", "/")
    assert (r.status, r.body, r.header("content-length")) == (200, b"", "13")
    r = s.request("POST", "/")
    assert (r.status, r.header("allow")) == (405, "GET, HEAD, OPTIONS")
    assert s.request("OPTIONS", "/").status == 204
    assert s.get("/hello").status == 404
    m = s.metrics()
    assert m.sum("capricorn_http_requests_total", route="/", method="GET", code="200") == 1
    assert m.sum("capricorn_http_requests_total", route="/", method="POST", code="405") == 1
    assert m.sum("capricorn_http_requests_total", route="other", method="GET", code="404") == 1


def test_json(serve, example):
    s = serve(example("json"), workers=1, config="module: {limit: 2}\n")
    r = s.request("POST", "/notes", body=b'{"text": "one"}')
    assert (r.status, r.header("location")) == (201, "/notes/1")
    assert r.json() == {"id": 1, "text": "one"}
    assert s.get("/notes/1").json()["text"] == "one"
    assert s.request("POST", "/notes", body=b"{").status == 400
    for body, status in (("", 400), ("{}", 422), ("[]", 422), ('{"text": 1}', 422)):
        assert s.request("POST", "/notes", body=body).status == status, body
    assert s.request("POST", "/notes", body=b'{"text": "two"}').status == 201
    r = s.request("POST", "/notes", body=b'{"text": "three"}')
    assert r.status == 507 and r.header("content-type") == "application/problem+json"
    assert [n["id"] for n in s.get("/notes").json()] == [1, 2]
    assert s.request("DELETE", "/notes/1").status == 204
    assert s.request("DELETE", "/notes/1").status == 404
    for path in ("/notes/1", "/notes/x", "/notes/1x", "/notes/0", "/notes/-1",
                 "/notes/99999999999999999999"):
        assert s.get(path).status == 404, path
    r = s.request("PUT", "/notes/2")
    assert (r.status, r.header("allow")) == (405, "GET, HEAD, DELETE, OPTIONS")
    m = s.metrics()
    assert m.sum("notes_created_total") == 2
    assert m.sum("notes_held") == 1
    assert m.sum("capricorn_http_requests_total", route="/notes/{id}", method="DELETE",
                 code="204") == 1
    known = {x["name"]: x["value"] for x in s.status()["module"]["metrics"]}
    assert known == {"notes_created_total": 2, "notes_held": 1}


def test_blocking(serve, example):
    """Eight sleep at the same time in one worker, and its loop serves on."""
    s = serve(example("blocking"), workers=1, env={"THREAD_POOL_SIZE": 8})
    took = []

    def ask():
        begun = time.monotonic()
        assert s.get("/sleep?ms=600").json() == {"slept_ms": 600}
        took.append(time.monotonic() - begun)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    begun = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(took) == 8
    assert time.monotonic() - begun < 8 * 0.6  # not one after the other
    assert s.metrics().sum("capricorn_http_requests_total", route="/sleep", method="GET",
                           code="200") == 8


def test_blocking_ends_with_its_client(serve, example):
    s = serve(example("blocking"), workers=1)
    for ms in ("-1", "60001"):
        assert s.get(f"/sleep?ms={ms}").status == 400
    for leave in ("reset", "shutdown"):
        with s.connect() as c:
            c.send("GET /sleep?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: active(s, "/sleep") == ["running"], what="the handler")
            getattr(c, leave)()
            wait_until(lambda: active(s, "/sleep") == [], 5, "its end")
    # That is no failure of the handler.
    assert s.metrics().sum("capricorn_errors_total", type="handler_failed") == 0
    assert not s.log_lines("ERROR")


def active(s, path):
    """States of the requests of that path."""
    doc = s.get(s.prefix + "/api/v1/performance/active-requests").json()
    return sorted(q["state"] for q in doc["requests"] if q["path"] == path)


def test_queue_of_the_pool_is_bounded(serve, example):
    s = serve(example("blocking"), workers=1, env={"THREAD_POOL_SIZE": 1, "TASK_QUEUE_SIZE": 1})
    with s.connect() as a, s.connect() as b:
        a.send("GET /sleep?ms=3000 HTTP/1.1\r\nHost: a\r\n\r\n")

        def states():
            return active(s, "/sleep")
        wait_until(lambda: states() == ["running"], what="a running request")
        b.send("GET /sleep?ms=3000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: states() == ["queued", "running"], what="a queued request")
        r = s.get("/sleep?ms=1")
        assert (r.status, r.header("retry-after")) == (503, "1")
        # Both leave: the queued one never runs, and the other one is told to end.
        a.close()
        b.close()
        wait_until(lambda: states() == [], what="no request")
    assert s.get("/sleep?ms=1").status == 200
    assert s.metrics().sum("capricorn_errors_total", route="/sleep", type="queue_full") == 1


def test_async(serve, example):
    s = serve(example("async"), workers=1)
    assert s.get("/later?ms=50").body == b"Now.\n"
    assert s.get("/compute?n=20").body == b"6765\n"
    with s.connect() as a, s.connect() as b:
        for c in (a, b):
            c.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")

        def pending():
            return active(s, "/wait")
        wait_until(lambda: pending() == ["pending"] * 2, what="two that wait")
        assert s.request("POST", "/tell", body=b"news").body == b"told 2\n"
        assert a.response().body == b.response().body == b"news"
    with s.connect() as c:
        c.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: pending() == ["pending"], what="one that waits")
    wait_until(lambda: pending() == [], what="none: it has left")
    assert s.request("POST", "/tell", body=b"news").body == b"told 0\n"
    assert s.get("/later?ms=-1").status == s.get("/compute?n=41").status == 400
    with s.connect() as c:
        c.send("GET /later?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: active(s, "/later") == ["pending"], what="one that waits")
    wait_until(lambda: active(s, "/later") == [], what="none: it has left")
    m = s.metrics()
    assert m.sum("capricorn_http_requests_total", route="/wait", code="200") == 2
    assert m.sum("capricorn_http_requests_total", route="/tell", code="200") == 2


def test_stream(serve, example):
    s = serve(example("stream"), workers=1)
    with s.connect() as c:  # each event is sent when it happens, not when many have come together
        c.send("GET /clock HTTP/1.1\r\nHost: a\r\n\r\n")
        text = b""
        begun = time.monotonic()
        while b"data: 2\n\n" not in text:
            text += c.read_line()
        assert b"text/event-stream" in text and b"event: tick\n" in text.replace(b"\r\n", b"\n")
        assert time.monotonic() - begun < 5 * lib.PATIENCE
    expected = "".join(f"{i}\n" for i in range(1, 50001)).encode()
    assert s.get("/count?to=50000").body == expected
    body = os.urandom(300000).hex().encode()
    r = s.request("POST", "/upper", body=body)
    assert hashlib.sha256(r.body).digest() == hashlib.sha256(body.upper()).digest()
    with s.connect() as c:  # a piece comes back before the next one is sent
        c.send("POST /upper HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        while c.read_line():
            pass
        for piece in (b"abc", b"def"):
            c.send(b"3\r\n" + piece + b"\r\n")
            assert c.read_line() == b"3"
            assert c.read_exactly(5) == piece.upper() + b"\r\n"
        c.send("0\r\n\r\n")
        assert c.read_line() == b"0"
    assert s.request("HEAD", "/clock").status == 200
    wait_until(lambda: _alone(s), what="the end of the clocks")
    assert not s.log_lines("ERROR")


def _alone(s):
    """Nothing runs on: neither a request nor what has outlived one."""
    return s.get(s.prefix + "/api/v1/performance/active-requests").json()["total"] == 1


def test_a_slow_reader_costs_no_memory(serve, example):
    s = serve(example("stream"), workers=1)
    rss = s.status()["workers"][0]["rss_bytes"]
    with s.connect(rcvbuf=4096) as c:
        c.send("GET /count?to=100000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        c.read_exactly(100000)
        time.sleep(1)  # it could produce a hundred megabytes meanwhile
        grown = s.status()["workers"][0]["rss_bytes"] - rss
        assert grown < 20 << 20
    wait_until(lambda: s.status()["workers"][0]["in_flight"] <= 1, what="the end of the stream")


def test_files(serve, example, tmp_path):
    (tmp_path / "index.html").write_text("<h1>front</h1>")
    data = os.urandom(200000)
    (tmp_path / "data.bin").write_bytes(data)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.css").write_text("a {}")
    os.symlink("/etc/hostname", tmp_path / "out")
    os.mkfifo(tmp_path / "pipe")
    os.chmod(tmp_path, 0o755)
    s = serve(example("files"), workers=1,
              config=f"module: {{directory: {tmp_path}}}\nlarge_file_threshold: 100k\n")
    r = s.get("/")
    assert (r.body, r.header("content-type")) == (b"<h1>front</h1>", "text/html; charset=utf-8")
    r = s.get("/files/data.bin")  # by sendfile
    assert r.body == data and r.header("accept-ranges") == "bytes"
    etag, modified = r.header("etag"), r.header("last-modified")
    for given, first, last in (("0-9", 0, 9), ("199990-", 199990, 199999), ("-5", 199995, 199999),
                               ("5-150005", 5, 150005)):
        r = s.get("/files/data.bin", {"Range": f"bytes={given}"})
        assert (r.status, r.body) == (206, data[first:last + 1])
        assert r.header("content-range") == f"bytes {first}-{last}/200000"
    assert s.get("/files/data.bin", {"Range": "bytes=0-9", "If-Range": etag}).status == 206
    r = s.get("/files/data.bin", {"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (r.status, r.body) == (200, data)
    r = s.get("/files/data.bin", {"Range": "bytes=200000-"})
    assert (r.status, r.header("content-range")) == (416, "bytes */200000")
    for field in ({"If-None-Match": etag}, {"If-Modified-Since": modified}):
        r = s.get("/files/data.bin", field)
        assert (r.status, r.body, r.header("etag")) == (304, b"", etag)
    assert s.get("/files/data.bin", {"If-Match": '"other"'}).status == 412
    r = s.request("HEAD", "/files/data.bin")
    assert (r.status, r.header("content-length"), r.body) == (200, "200000", b"")
    assert s.get("/files/sub/a.css").header("content-type") == "text/css; charset=utf-8"
    for path, status in (("/files/none", 404), ("/files/sub", 404), ("/files/", 404),
                         ("/files/pipe", 404), ("/files/out", 403),
                         ("/files/..%2f..%2fetc/passwd", 404), ("/files/sub/../../x", 404)):
        assert s.get(path).status == status, path
    assert not s.log_lines("ERROR")


def test_large_files_are_not_compressed(serve, example, tmp_path):
    (tmp_path / "small.txt").write_text("text " * 5000)
    (tmp_path / "large.txt").write_text("text " * 50000)
    os.chmod(tmp_path, 0o755)
    s = serve(example("files"), workers=1,
              config=f"module: {{directory: {tmp_path}}}\nlarge_file_threshold: 100k\n")
    gz = {"Accept-Encoding": "gzip"}
    assert s.get("/files/small.txt", gz).header("content-encoding") == "gzip"
    r = s.get("/files/large.txt", gz)
    assert r.header("content-encoding") is None and len(r.body) == 250000


def test_files_needs_its_directory(example):
    r = lib.run(example("files"), "--bind", "127.0.0.1:0", "-w", "1")
    assert r.returncode == 4
    assert "module: directory: is missing" in r.stderr


def test_each_example_is_described():
    where = os.path.join(lib.TOP, "examples")
    with open(os.path.join(where, "README.md"), encoding="utf-8") as f:
        index = f.read()
    names = [n for n in os.listdir(where) if os.path.isdir(os.path.join(where, n))]
    assert sorted(names) == sorted(SOURCES)
    for name in names:
        assert f"({name}/" in index
        with open(os.path.join(where, name, "README.md"), encoding="utf-8") as f:
            assert "curl" in f.read()


def test_event_streams_do_not_hold_up_a_reload(serve, example):
    s = serve(example("stream"), workers=1, env={"GRACEFUL_TIMEOUT": "20s"})
    with s.connect() as c:
        c.send("GET /clock HTTP/1.1\r\nHost: a\r\n\r\n")
        while b"data: 1\n" not in c.read_line():
            pass
        s.kill(lib.signal.SIGHUP)
        s.wait_log("Reload finished", 8)
        assert c.read_to_end().endswith(b"0\r\n\r\n")  # ended, not cut
    assert not s.log_lines("GRACEFUL_TIMEOUT")


def test_limited(serve, example):
    s = serve(example("limited"), workers=4, env={"THREAD_POOL_SIZE": 8},
              config="semaphores:\n  render: {limit: 2, queue: 100, queue_timeout: 20s}\n"
                     "rate_limits:\n  per_caller: {key: client, rate: 1/h, burst: 12}\n")
    statuses = []

    def ask():
        statuses.append(s.get("/render?ms=60").status)
    threads = [threading.Thread(target=ask) for _ in range(15)]
    begin = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(statuses) == [200] * 12 + [429] * 3
    assert time.monotonic() - begin >= 12 * 0.06 / 2 # two at a time, whatever worker they are in


def test_cached(serve, example):
    """Twelve of four workers miss at once, and one computes; what was dropped is computed anew."""
    s = serve(example("cached"), workers=4, env={"THREAD_POOL_SIZE": 12, "CACHE_MEMORY": "1m"})
    answers = []

    def ask():
        answers.append(s.get("/report/7"))
    threads = [threading.Thread(target=ask) for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(answers) == 12
    (seven,) = {r.body for r in answers if r.status == 200}
    eight = s.get("/report/8").body
    assert seven.startswith(b"7 at ") and eight.startswith(b"8 at ")
    assert [s.get(f"/report/{i}").body for i in (7, 8, 7, 8)] == [seven, eight] * 2
    assert s.request("DELETE", "/reports").status == 204
    news = [s.get(f"/report/{i}").body for i in (7, 8, 7, 8)]
    assert news[:2] == news[2:] and not {seven, eight} & set(news)
