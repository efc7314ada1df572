# SPDX-License-Identifier: MIT
"""Requests that two readers could cut in different places. Each is followed by a second request
that must never be answered: what a proxy in front took for a body would be it. Where there is one
right reading, the second request is answered, and with its own target."""
import json

import pytest

from lib import Server


HIDDEN = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def echo_server():
    with Server("builtin:echo") as s:
        yield s


def post(fields, body=""):
    return f"POST /first HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"


CHUNKS = "5\r\nhello\r\n0\r\n\r\n"
TE = "Transfer-Encoding: chunked\r\n"

# name: (bytes in front of the hidden request, status)
REFUSED = {
    # two lengths
    "CL and TE": (post("Content-Length: 5\r\n" + TE, CHUNKS), 400),
    "TE and CL": (post(TE + "Content-Length: 5\r\n", CHUNKS), 400),
    "TE and CL of 0": (post(TE + "Content-Length: 0\r\n", CHUNKS), 400),
    "CL and TE in other case": (post("content-length: 5\r\ntRANSFER-eNCODING: CHUNKED\r\n", CHUNKS),
                                400),
    "CL and unknown TE": (post("Content-Length: 5\r\nTransfer-Encoding: x\r\n", "hello"), 400),
    "CL and empty TE": (post("Content-Length: 5\r\nTransfer-Encoding:\r\n", "hello"), 400),
    "two CL that differ": (post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400),
    "two equal CL": (post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400),
    "list of CL": (post("Content-Length: 5, 5\r\n", "hello"), 400),
    "list of CL that differ": (post("Content-Length: 5,0\r\n", "hello"), 400),
    # lengths that readers take for different numbers
    "CL with plus": (post("Content-Length: +5\r\n", "hello"), 400),
    "CL with minus": (post("Content-Length: -0\r\n", "hello"), 400),
    "CL in hex": (post("Content-Length: 0x5\r\n", "hello"), 400),
    "CL with exponent": (post("Content-Length: 5e0\r\n", "hello"), 400),
    "CL with point": (post("Content-Length: 5.0\r\n", "hello"), 400),
    "CL with underscore": (post("Content-Length: 0_5\r\n", "hello"), 400),
    "CL with a space inside": (post("Content-Length: 0 5\r\n", "hello"), 400),
    "CL empty": (post("Content-Length:\r\n", "hello"), 400),
    "CL over 63 bits": (post("Content-Length: 18446744073709551621\r\n", "hello"), 400),
    "CL with vertical tab": (post("Content-Length: \x0b5\r\n", "hello"), 400),
    "CL in other digits": (post("Content-Length: \xd9\xa5\r\n", "hello"), 400),
    "CL before a space and a colon": (post("Content-Length : 5\r\n", "hello"), 400),
    "CL behind a NUL": (post("\0Content-Length: 5\r\n", "hello"), 400),
    "CL continued": (post("Content-Length:\r\n 5\r\n", "hello"), 400),
    "CL behind a bare LF": (post("A: b\nContent-Length: 5\r\n", "hello"), 400),
    "CL behind a bare CR": (post("A: b\rContent-Length: 5\r\n", "hello"), 400),
    # codings
    "TE with tab before colon": (post("Transfer-Encoding\t: chunked\r\n", CHUNKS), 400),
    "TE continued": (post("Transfer-Encoding:\r\n chunked\r\n", CHUNKS), 400),
    "TE behind a continued line": (post("A: b\r\n Transfer-Encoding: chunked\r\n", CHUNKS), 400),
    "TE with vertical tab": (post("Transfer-Encoding: \x0bchunked\r\n", CHUNKS), 400),
    "TE with NUL": (post("Transfer-Encoding: chunked\0\r\n", CHUNKS), 400),
    "TE xchunked": (post("Transfer-Encoding: xchunked\r\n", CHUNKS), 400),
    "TE chunked and more": (post("Transfer-Encoding: chunked, identity\r\n", CHUNKS), 400),
    "TE chunked twice": (post("Transfer-Encoding: chunked, chunked\r\n", CHUNKS), 400),
    "TE in two lines": (post(TE + TE, CHUNKS), 400),
    "TE, then identity": (post(TE + "Transfer-Encoding: identity\r\n", CHUNKS), 400),
    "TE quoted": (post("Transfer-Encoding: \"chunked\"\r\n", CHUNKS), 400),
    "TE with a parameter": (post("Transfer-Encoding: chunked;q=1\r\n", CHUNKS), 400),
    "TE with empty elements": (post("Transfer-Encoding: ,chunked\r\n", CHUNKS), 400),
    "TE identity": (post("Transfer-Encoding: identity\r\n", CHUNKS), 400),
    "TE identity, chunked": (post("Transfer-Encoding: identity, chunked\r\n", CHUNKS), 501),
    "TE gzip, chunked": (post("Transfer-Encoding: gzip, chunked\r\n", CHUNKS), 501),
    "TE gzip, then chunked": (post("Transfer-Encoding: gzip\r\n" + TE, CHUNKS), 501),
    "TE in HTTP/1.0": ("POST /first HTTP/1.0\r\nConnection: keep-alive\r\n" + TE + "\r\n" + CHUNKS,
                       400),
    # chunks; the head is right, and the answer is the body's
    "chunk size with plus": (post(TE, "+5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size with minus": (post(TE, "-1\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size with 0x": (post(TE, "0x5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size with underscore": (post(TE, "0_5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size with space before": (post(TE, " 5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size with space behind": (post(TE, "5 \r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size over 64 bits": (post(TE, "10000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size missing": (post(TE, "\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk size ends with LF": (post(TE, "5\nhello\r\n0\r\n\r\n"), 400),
    "chunk ends with LF": (post(TE, "5\r\nhello\n0\r\n\r\n"), 400),
    "chunk longer than its size": (post(TE, "4\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk without an end": (post(TE, "5\r\nhello0\r\n\r\n"), 400),
    "extension with CR": (post(TE, "5;a\rb\r\nhello\r\n0\r\n\r\n"), 400),
    "extension with LF": (post(TE, "5;a\nhello\r\n0\r\n\r\n"), 400),
    "extension with LF in quotes": (post(TE, "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"), 400),
    "last chunk ends with LF": (post(TE, "0\n\r\n"), 400),
    "trailers end with LF": (post(TE, "0\r\n\n"), 400),
    "trailer ends with LF": (post(TE, "0\r\nA: b\n\r\n"), 400),
    "trailer with space before colon": (post(TE, "0\r\nA : b\r\n\r\n"), 400),
    "trailer continued": (post(TE, "0\r\nA: b\r\n c\r\n\r\n"), 400),
    "Content-Length as trailer": (post(TE, f"0\r\nContent-Length: {len(HIDDEN)}\r\n\r\n"), 400),
    "Transfer-Encoding as trailer": (post(TE, "0\r\n" + TE + "\r\n"), 400),
    "Host as trailer": (post(TE, "0\r\nHost: b\r\n\r\n"), 400),
    # heads that readers cut in different places
    "request line ends with LF": ("GET /first HTTP/1.1\nHost: a\r\n\r\n", 400),
    "head ends with LF": ("GET /first HTTP/1.1\r\nHost: a\r\n\n", 400),
    "head ends with CR": ("GET /first HTTP/1.1\r\nHost: a\r\n\r\r\n", 400),
    "request line of HTTP/0.9": ("GET /first\r\n", 400),
    "two request lines": ("GET /first HTTP/1.1\r\nGET /other HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two Hosts": ("GET /first HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "target with a second request": ("GET /first\rGET /x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target with a space": ("GET /first HTTP/1.1 /x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
}

# name: (bytes in front of the hidden request, bytes of body that the one right reading gives)
ONE_READING = {
    "no length": ("POST /first HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    "GET with a body": ("GET /first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 5),
    "OPTIONS with a body": ("OPTIONS /first HTTP/1.1\r\nHost: a\r\n" + TE + "\r\n" + CHUNKS, 5),
    "length with zeros": (post("Content-Length: 000000000000000000000005\r\n", "hello"), 5),
    "length between tabs": (post("Content-Length:\t5\t\r\n", "hello"), 5),
    "names with underscores": (post("Content_Length: 5\r\nTransfer_Encoding: chunked\r\n"), 0),
    "names that are longer": (post("Content-Lengths: 5\r\nX-Transfer-Encoding: chunked\r\n"), 0),
    "body of a whole request": (post(f"Content-Length: {len(HIDDEN)}\r\n", HIDDEN), len(HIDDEN)),
    "chunk of a whole request": (post(TE, f"{len(HIDDEN):x}\r\n{HIDDEN}\r\n0\r\n\r\n"),
                                 len(HIDDEN)),
    "chunk of the last chunk": (post(TE, "5\r\n0\r\n\r\n\r\n0\r\n\r\n"), 5),
    "space before an extension": (post(TE, "5 ;a\r\nhello\r\n0 ; b\r\n\r\n"), 5),
    "extension that looks like a chunk": (post(TE, "5;a=\"0\"\r\nhello\r\n0\r\n\r\n"), 5),
    "trailer that looks like a chunk": (post(TE, "5\r\nhello\r\n0\r\n5: x\r\n\r\n"), 5),
    "length that Connection names": (post("Connection: content-length\r\nContent-Length: 5\r\n",
                                          "hello"), 5),
    "Expect and a body at once": (post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"),
                                  5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(echo_server, name):
    raw, status = REFUSED[name]
    with echo_server.connect() as c:
        c.send(raw + HIDDEN)
        r = c.response()
        assert r.status == status, r
        assert r.header("connection") == "close"
        assert c.is_closed(), "something was answered behind the refusal"


@pytest.mark.parametrize("name", ONE_READING)
@pytest.mark.parametrize("piece", [1 << 20, 1])
def test_one_reading(echo_server, name, piece):
    raw, body_bytes = ONE_READING[name]
    with echo_server.connect() as c:
        c.send_slowly((raw + HIDDEN).encode("latin-1"), piece=piece)
        for target, n in (("/first", body_bytes), ("/hidden", 0)):
            r = c.response()
            assert r.status == 200, r
            said = json.loads(r.body)
            assert (said["target"], said["body_bytes"]) == (target, n)
        c.send(HIDDEN)
        assert json.loads(c.response().body)["target"] == "/hidden"


def test_nothing_hidden_reached_the_handler(echo_server):
    """By the server's own count: as many requests as were answered with 200."""
    def answered():
        return echo_server.metrics().sum("capricorn_http_requests_total", code=200)

    before = answered()
    assert echo_server.get("/").status == 200
    assert answered() == before + 1
    for raw, _ in REFUSED.values():
        with echo_server.connect() as c:
            c.send(raw + HIDDEN)
            c.read_to_end()
    assert answered() == before + 1
