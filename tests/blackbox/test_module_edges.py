# SPDX-License-Identifier: MIT
"""The edges of a request's life: call-backs that must not come any more, or have to come yet."""
import pytest

from lib import wait_until
from modules import module


@pytest.fixture
def s(serve):
    return serve(module("edges"), workers=1)


def counts(s):
    return s.get("/counts").json()


def test_a_fill_that_gives_nothing_is_cut(s):
    with s.connect() as c:
        c.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
        c.read_to_end()


def test_the_limit_of_a_later_route_holds(s):
    assert s.request("POST", "/limit/small", body=b"x" * 10).body == b"10"
    assert s.request("POST", "/limit/small", body=b"x" * 11).status == 413
    with s.connect() as c:
        c.send("POST /limit/small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               "b\r\n01234567890\r\n0\r\n\r\n")
        assert c.response("POST").status == 413


def test_a_completed_request_hears_of_no_more_body(s):
    with s.connect() as c:
        c.send("POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")
        assert c.response("POST").body == b"early"
        assert c.request("GET", "/counts").json()["late_pieces"] == 0


def test_a_body_that_was_asked_for_and_declined(s):
    with s.connect() as c:
        c.send("POST /declined/it HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        wait_until(lambda: s.status()["workers"][0]["in_flight"] == 2, what="the request")
        c.send("abcd")
        assert c.response("POST").body == b"later"
        assert c.request("GET", "/counts").json()["late_pieces"] == 0


def test_on_body_from_a_timer_calls_nobody_within(s):
    r = s.request("POST", "/timed", body=b"abc")
    assert (r.status, r.body) == (200, b"all of it")
    assert counts(s)["within"] == 0


def test_a_hang_up_is_told_to_each_request(s):
    with s.connect() as c:
        c.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        c.shutdown()
        assert [r.body for r in c.responses(3)] == [b"you left"] * 3
    assert counts(s)["cancelled"] == 3


def test_room_is_told_to_who_asks_late(s):
    r = s.get("/writable")
    assert r.status == 200 and len(r.body) >= 256 << 10
    assert counts(s)["writable"] == 1


def test_who_has_ended_is_told_of_no_room(s):
    with s.connect(rcvbuf=4096) as c:
        c.send("GET /full HTTP/1.1\r\nHost: a\r\n\r\n")
        assert len(c.response().body) >= 256 << 10
    assert counts(s)["late_writable"] == 0


def test_the_path_of_connect_outlives_its_body(s):
    with s.connect() as c, s.connect() as other:
        c.send("CONNECT host.example:443 HTTP/1.1\r\nHost: host.example:443\r\n"
               "Content-Length: 3\r\n\r\n")
        wait_until(lambda: s.status()["workers"][0]["in_flight"] == 2, what="the request")
        for _ in range(20):  # takes the memory that the first one has given back
            other.request("POST", "/x" * 50, body=b"y" * 4000)
        c.send("abc")
        assert c.response("CONNECT").header("x-path") == "host.example:443"


def test_not_modified_says_no_length(serve, tmp_path):
    source = tmp_path / "page.html"
    source.write_text("text " * 1000)
    tmp_path.chmod(0o755)
    s = serve(module("edges_files"), workers=1, config=f"module: {{file: {source}}}\n")
    etag = s.get("/").header("etag")
    r = s.get("/", {"If-None-Match": etag})
    assert (r.status, r.header("content-length"), r.header("transfer-encoding")) == (304, None, None)
    assert r.header("vary") == "Accept-Encoding"
