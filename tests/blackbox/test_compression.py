# SPDX-License-Identifier: MIT
"""gzip of answers: for whom, from which size on, what the fields say, and the bytes."""
import gzip
import random
import signal
import threading
import zlib

import pytest

from lib import RawClient, wait_until


GZ = {"Accept-Encoding": "gzip"}
JSON = {"Content-Type": "application/json"}
TEXT = b"".join(b'{"id":%d,"name":"item %d"},' % (i, i % 7) for i in range(60000))


def plain(r):
    """The body of an answer, decoded as its fields say; one that is whole and nothing else."""
    if r.header("content-encoding") is None:
        return r.body
    assert r.header_all("content-encoding") == ["gzip"]
    d = zlib.decompressobj(31)
    body = d.decompress(r.body)
    assert d.eof and not d.unused_data
    return body


def echo(client, body, headers=GZ, **kw):
    r = client.request("POST", "/echo", {**JSON, **headers}, body, **kw)
    assert r.status == 200
    assert plain(r) == body
    return r


def zipped(r):
    return r.header("content-encoding") == "gzip"


def test_sizes_around_the_bounds(server):
    with server.connect() as c:
        for n in (1, 1023, 1024, 1025, 1786, 1787, 16122, 16123, 65535, 65536, 65537, 300000,
                  1500000):
            r = echo(c, TEXT[:n])
            assert zipped(r) == (n >= 1024), n
            assert r.header_all("vary") == (["Accept-Encoding"] if n >= 1024 else [])
            assert n < 1024 or len(r.body) < n / 3


def test_what_does_not_become_smaller(server):
    noise = random.Random(1).randbytes(50000)
    with server.connect() as c:
        r = echo(c, noise)
        assert not zipped(r)
        assert r.header("content-length") == "50000"
        assert r.header("vary") == "Accept-Encoding"


@pytest.mark.parametrize("level", [1, 9])
def test_levels(serve, level):
    with serve(workers=1, env={"COMPRESSION_LEVEL": level}).connect() as c:
        for n in (1024, 5000, 16384, 16385, 65536, 200000):
            assert zipped(echo(c, TEXT[:n]))


def test_level_0_is_off(serve):
    s = serve(workers=1, env={"COMPRESSION_LEVEL": 0})
    r = s.get("/metrics", GZ)
    assert not zipped(r) and r.header("vary") is None
    assert s.metrics().sum("capricorn_compression_answers_total") == 0


@pytest.mark.parametrize("size, least", [(0, 0), (200, 200), ("10k", 10240)])
def test_min_size(serve, size, least):
    with serve(workers=1, env={"COMPRESSION_MIN_SIZE": size}).connect() as c:
        for n in (max(least - 1, 0), least, least + 1, 20000):
            # A handful of bytes does not become smaller.
            assert zipped(echo(c, TEXT[:n])) == (n >= least and n > 100), n


@pytest.mark.parametrize("value, yes", [
    ("gzip", True), ("GZIP", True), ("deflate, gzip;q=0.5", True), ("*", True),
    ("gzip;q=1.0, identity; q=0.5", True), ("gzip;q=0.001", True),
    ("", False), ("identity", False), ("gzip;q=0", False), ("gzip;q=0.0, *", False),
    ("*;q=0", False), ("br, deflate", False), ("gzipped", False), ("gzip;q=0, gzip;q=x", False)])
def test_accept_encoding(server, value, yes):
    with server.connect() as c:
        r = echo(c, TEXT[:5000], {"Accept-Encoding": value})
        assert zipped(r) == yes
        assert r.header_all("vary") == ["Accept-Encoding"]


def test_two_fields_are_one_list(server):
    with server.connect() as c:
        c.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n"
               b"Accept-Encoding: gzip\r\n\r\n")
        r = c.response()
        assert zipped(r) and b"# TYPE capricorn_" in plain(r)


def test_types(server):
    with server.connect() as c:
        for kind, yes in (("text/html; charset=utf-8", True), ("application/problem+json", True),
                          ("image/svg+xml", True), ("Application/JSON", True),
                          ("application/octet-stream", False), ("image/jpeg", False),
                          ("application/zip", False)):
            r = echo(c, TEXT[:5000], {**GZ, "Content-Type": kind})
            assert zipped(r) == yes, kind
            assert (r.header("vary") is not None) == yes, kind


def test_built_in_documents(server):
    for path in ("/status", "/metrics"):
        r = server.get(path, GZ)
        assert zipped(r), path
        assert r.header("cache-control") == "no-store"
        assert int(r.header("content-length")) == len(r.body)
        assert plain(r).rstrip().endswith((b"}", b"0"))


def test_problems_are_compressed(serve):
    s = serve(workers=1, env={"COMPRESSION_MIN_SIZE": 100})
    r = s.get("/nothing", GZ)
    assert r.status == 404 and zipped(r)
    assert b'"status":404' in plain(r).replace(b" ", b"")


def test_the_keeper_compresses(serve):
    s = serve(workers=1, env={"STATUS_BIND": "127.0.0.1:0"})
    m = s.wait_log(r"[Ss]tatus\D* at: http://127\.0\.0\.1:(\d+)")
    with RawClient(("127.0.0.1", int(m.group(1)))) as c:
        r = c.get("/metrics", GZ)
    assert zipped(r) and b"# TYPE capricorn_" in plain(r)


def test_head_has_the_fields_of_get(serve):
    s = serve("builtin:echo", workers=1, env={"COMPRESSION_MIN_SIZE": 50})
    with s.connect() as c:
        for headers in (GZ, {}):
            both = []
            for method in ("GET", "HEAD"):
                r = c.request(method, "/", {**headers, "X-Request-Id": "a"})
                both.append({n: v for n, v in r.headers if n not in ("date", "content-length")})
            assert both[0] == both[1]
            assert both[0]["vary"] == "Accept-Encoding"
            assert ("content-encoding" in both[1]) == bool(headers)


def test_http_1_0(server):
    with server.connect() as c:
        keep = {**GZ, "Connection": "keep-alive"}
        r = echo(c, TEXT[:5000], keep, version="HTTP/1.0")
        assert zipped(r) and r.header("content-length") == str(len(r.body))
        # Compressed, its length would not be known: 1.0 has no chunks, and the connection stays.
        r = echo(c, TEXT[:200000], keep, version="HTTP/1.0")
        assert not zipped(r) and r.header("content-length") == "200000"
        assert zipped(echo(c, TEXT[:5000]))


def test_all_sorts_in_one_batch(server):
    """Pipelined, with answers of every kind between each other: each keeps to its own."""
    rng = random.Random(7)
    wanted, out = [], b""
    for _ in range(200):
        n = rng.choice((0, 10, 1023, 1024, 3000, 30000, 65536, 70000))
        accepts, method = rng.random() < 0.6, "POST"
        out += b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        out += b"Accept-Encoding: gzip\r\n" if accepts else b""
        out += b"Content-Length: %d\r\n\r\n" % n + TEXT[:n]
        wanted.append((method, n, accepts and n >= 1024))
        if rng.random() < 0.3:
            out += b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n" + \
                (b"Accept-Encoding: gzip\r\n" if accepts else b"") + b"\r\n"
            wanted.append(("HEAD", 0, accepts))
    with server.connect() as c:
        sender = threading.Thread(target=c.send, args=(out,))
        sender.start()
        for method, n, gz in wanted:
            r = c.response(method)
            assert r.status == 200
            assert zipped(r) == gz
            if method == "POST":
                assert plain(r) == TEXT[:n]
        sender.join()


def test_large_bodies_are_streamed(server):
    """Megabytes, to several clients at once; the server stays quick for others."""
    body = TEXT[:1000000] * 9
    with server.connect(timeout=60) as a, server.connect(timeout=60) as b:
        for c in (a, b):
            c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n"
                   b"Accept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert server.get("/livez").status == 200
        for c in (a, b):
            r = c.response()
            assert r.header("transfer-encoding") == "chunked"
            assert plain(r) == body


def test_large_bodies_are_compressed_piece_by_piece(serve):
    body = TEXT[:1000000] * 11
    s = serve(workers=1, env={"CLIENT_MAX_BODY_SIZE": "20m"})
    with s.connect(timeout=60) as c:
        r = echo(c, body)
        assert zipped(r) and r.header("content-length") is None and plain(r) == body


def test_counted(server):
    def counts():
        m = server.metrics()
        return [m.sum("capricorn_compression_" + n) for n in
                ("answers_total", "in_bytes_total", "out_bytes_total", "skipped_total")]
    before = counts()
    with server.connect() as c:
        r = [echo(c, TEXT[:n]) for n in (500, 2000, 100000)]
        echo(c, TEXT[:3000], {})
    after = counts()
    assert [a - b for a, b in zip(after, before)] == \
        [2, 102000, len(r[1].body) + len(r[2].body), 0]


def test_a_reload_changes_the_level(serve):
    s = serve(workers=1, config="compression_level: 0\n")
    assert not zipped(s.get("/metrics", GZ))
    s.write_config("compression_level: 6\ncompression_min_size: 1\n")
    s.kill(signal.SIGHUP)
    wait_until(lambda: zipped(s.get("/", GZ)), 20, "a compressed answer")


def test_the_access_log_says_what_was_sent(serve, tmp_path):
    log = tmp_path / "access.log"
    s = serve(workers=1, env={"ACCESS_LOG": str(log), "ACCESS_LOG_FORMAT": "%(U)s %(B)s"})
    with s.connect() as c:
        r = [echo(c, TEXT[:n]) for n in (100, 5000, 100000)]
    want = [f"/echo {len(x.body)}" for x in r]
    wait_until(lambda: log.exists() and
               [x for x in log.read_text().splitlines() if "/echo" in x] == want, 10, str(want))


def test_others_read_it_too(server):
    assert gzip.decompress(server.get("/metrics", GZ).body).startswith(b"# HELP capricorn_")
