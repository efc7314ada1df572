# SPDX-License-Identifier: MIT
"""Files as answers: conditions, ranges, and what lies outside of a directory."""
import email.utils
import os
import time

import pytest

from lib import wait_until
from modules import probe


SMALL = bytes(range(256)) * 4
LARGE = os.urandom(300000)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A directory, and what a client shall not see beside it."""
    top = tmp_path_factory.mktemp("files")
    (top / "secret.txt").write_text("secret")
    d = top / "public"
    (d / "sub").mkdir(parents=True)
    (d / "small.bin").write_bytes(SMALL)
    (d / "large.bin").write_bytes(LARGE)
    (d / "page.html").write_text("<p>page</p>\n" * 200)
    (d / "empty").write_bytes(b"")
    (d / "sub" / "deep.txt").write_text("deep")
    (d / "inside").symlink_to("sub/deep.txt")
    (d / "outside").symlink_to("../secret.txt")
    (d / "absolute").symlink_to("/etc/hostname")
    (d / "away").symlink_to("..")
    (d / "loop").symlink_to("loop")
    os.mkfifo(d / "pipe")
    for name in os.listdir(d):
        if os.path.isfile(d / name) and not os.path.islink(d / name):
            os.utime(d / name, (1600000000, 1600000000))
    return d


@pytest.fixture(scope="module")
def s(files):
    with probe(config=f"module: {{directory: '{files}'}}\n",
               env={"LARGE_FILE_THRESHOLD": "64k"}) as server:
        yield server


@pytest.fixture
def c(s):
    with s.connect() as client:
        yield client


PATHS = [("small", SMALL), ("large", LARGE)]


@pytest.mark.parametrize("name, data", PATHS, ids=["small", "large"])
def test_whole(c, files, name, data):
    r = c.get(f"/files/{name}.bin")
    assert (r.status, r.body) == (200, data)
    assert r.header("content-type") == "application/octet-stream"
    assert r.header("accept-ranges") == "bytes"
    assert r.header("last-modified") == "Sun, 13 Sep 2020 12:26:40 GMT"
    assert r.header("etag").startswith('"')
    h = c.request("HEAD", f"/files/{name}.bin")
    assert (h.status, h.body) == (200, b"")
    for field in ("content-length", "etag", "last-modified", "content-type"):
        assert h.header(field) == r.header(field)
    for kind in ("inline", "pool", "async"):
        r = c.get(f"/{kind}/file?path={files}/{name}.bin&type=text/x-mine")
        assert (r.status, r.header("content-type"), r.body) == (200, "text/x-mine", data)
    assert c.get("/files/empty").body == b""
    assert c.get("/files/page.html").header("content-type").startswith("text/html")


@pytest.mark.parametrize("name, data", PATHS, ids=["small", "large"])
def test_ranges(c, name, data):
    path, size = f"/files/{name}.bin", len(data)
    for text, begin, end in (("0-0", 0, 1), ("10-19", 10, 20), ("5-", 5, size),
                             ("-7", size - 7, size), (f"-{size + 9}", 0, size),
                             (f"{size - 1}-{size + 50}", size - 1, size)):
        r = c.request("GET", path, {"Range": f"bytes={text}"})
        assert (r.status, r.body) == (206, data[begin:end]), text
        assert r.header("content-range") == f"bytes {begin}-{end - 1}/{size}"
    for text in (f"{size}-", "-0"):
        r = c.request("GET", path, {"Range": f"bytes={text}"})
        assert (r.status, r.header("content-range")) == (416, f"bytes */{size}")
    for text in ("bytes=0-0,5-6", "bytes=9-5", "lines=1-2", "bytes=x"):
        r = c.request("GET", path, {"Range": text})
        assert (r.status, r.body) == (200, data), text
    assert c.request("HEAD", path, {"Range": "bytes=0-0"}).status == 200
    r = c.request("GET", path, {"Range": "bytes=0-99", "Accept-Encoding": "gzip"})
    assert (r.status, r.header("content-encoding"), r.body) == (206, None, data[:100])


def test_if_range(c):
    path = "/files/small.bin"
    r = c.get(path)
    etag, modified = r.header("etag"), r.header("last-modified")
    for value, status in ((etag, 206), (modified, 206), ('"other"', 200), ("W/" + etag, 200),
                          ("Sun, 13 Sep 2020 12:26:39 GMT", 200)):
        r = c.request("GET", path, {"Range": "bytes=0-0", "If-Range": value})
        assert r.status == status, value


def test_conditions(c):
    path = "/files/large.bin"
    r = c.get(path)
    etag, modified = r.header("etag"), r.header("last-modified")
    later = email.utils.formatdate(1600000001, usegmt=True)
    earlier = email.utils.formatdate(1599999999, usegmt=True)
    for fields, status in (({"If-None-Match": etag}, 304), ({"If-None-Match": "W/" + etag}, 304),
                           ({"If-None-Match": "*"}, 304), ({"If-None-Match": f'"a", {etag}'}, 304),
                           ({"If-None-Match": '"a"'}, 200), ({"If-Modified-Since": modified}, 304),
                           ({"If-Modified-Since": later}, 304),
                           ({"If-Modified-Since": earlier}, 200),
                           ({"If-Match": etag}, 200), ({"If-Match": "*"}, 200),
                           ({"If-Match": '"a"'}, 412), ({"If-Unmodified-Since": earlier}, 412),
                           ({"If-Unmodified-Since": modified}, 200),
                           # The stronger one decides.
                           ({"If-None-Match": '"a"', "If-Modified-Since": later}, 200)):
        r = c.request("GET", path, fields)
        assert r.status == status, fields
        assert len(r.body) == len(LARGE) if status == 200 else len(r.body) < 1000
        if status == 304:
            assert (r.header("etag"), r.body) == (etag, b"")
        assert c.request("HEAD", path, fields).status == status


def test_a_change_is_another_etag(c, files):
    p = files / "changing.txt"
    p.write_text("one")
    first = c.get("/files/changing.txt").header("etag")
    time.sleep(0.01) # as coarse as the clock of a file system is
    p.write_text("two")
    r = c.request("GET", "/files/changing.txt", {"If-None-Match": first})
    assert (r.status, r.body) == (200, b"two")


def test_below_a_directory(c):
    assert c.get("/files/sub/deep.txt").body == b"deep"
    assert c.get("/files//sub/deep.txt").status in (200, 404)
    assert c.get("/files/inside").body == b"deep"
    for path in ("none", "sub", "sub/", "", "small.bin/x", "sub/none", "pipe", "x" * 300):
        assert c.get(f"/files/{path}").status == 404, path
    for path in ("outside", "absolute", "away/secret.txt", "loop", "away/public/small.bin"):
        r = c.get(f"/files/{path}")
        assert r.status == 403, path
        assert b"secret" not in r.body
    # What no server has normalised before.
    for path, status in (("../secret.txt", 403), ("sub/../../secret.txt", 403),
                         ("/etc/hostname", 404), ("sub/../small.bin", 200),
                         ("///small.bin", 200), ("..", 403), ("", 404),
                         ("small.bin%00.txt", 500)):
        assert c.get(f"/file-query?path={path}").status == status, path


def test_missing_plain_files(c, files):
    for kind in ("inline", "pool", "async"):
        assert c.get(f"/{kind}/file?path={files}/none").status == 404
        assert c.get(f"/{kind}/file?path={files}").status == 404
        assert c.get(f"/{kind}/file?path={files}/pipe").status == 404
        assert c.get(f"/{kind}/file?path=").status == 404


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_unreadable(c, files):
    p = files / "unreadable"
    p.write_text("x")
    p.chmod(0)
    assert c.get("/files/unreadable").status == 403


def test_no_descriptor_is_left(s, c):
    pid = s.worker_pids()[0]

    def files_open():
        links = []
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except FileNotFoundError:
                pass
        return [n for n in links if "/public" in n]
    with s.connect(rcvbuf=4096) as d:
        d.send("GET /files/large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        d.read_exactly(1000)
        d.reset()
    for fields in ({"If-None-Match": "*"}, {"Range": "bytes=0-0"}, {"Range": "bytes=999999-"}):
        c.request("GET", "/files/large.bin", fields)
    assert c.get("/files/large.bin").status == 200
    wait_until(lambda: not files_open(), what=lambda: f"closed files: {files_open()}")
