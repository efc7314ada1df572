# SPDX-License-Identifier: MIT
"""The examples of docs/CACHING.md, taken out of it and run."""
import json
import os
import re
import textwrap
import time

import lib
from lib import Server, wait_until
from test_cache import Cached, is_hit, verdict

with open(os.path.join(lib.TOP, "docs", "CACHING.md"), encoding="utf-8") as _f:
    TEXT = _f.read()
BLOCKS = [textwrap.dedent(b) for b in re.findall(r"(?:^    .*\n)+", TEXT, re.M)]
GZIP = {"Accept-Encoding": "gzip"}


def block(word):
    (found,) = [b for b in BLOCKS if word in b]
    return found


def told():
    """What the table says that Cache-Status may be, numbers left out."""
    return {re.sub(r"\d+", "N", t) for t in re.findall(r"^\| `((?:hit|fwd=).*?)` \|", TEXT, re.M)}


def seen(response):
    return re.sub(r"-?\d+", "N", response.header("cache-status").partition("; ")[2])


def test_each_block_is_a_configuration_or_a_request(tmp_path):
    path = tmp_path / "capricorn.yaml"
    for b in BLOCKS:
        if not b.startswith("POST "):
            path.write_text(b)
            r = lib.run("--check-config", "-c", path)
            assert r.returncode == 0, b + r.stderr
    assert len(BLOCKS) == 5


def test_answers_and_what_drops_them():
    """The first example, what the table says, and what operators send."""
    config = block("draft_updated\n").replace("/drafts/", "/pool/").replace("256MB", "4MB")
    with Cached(config, workers=2) as c:
        def get(path, headers=None):
            answers.append(c.get(path, headers))
            return answers[-1]

        answers = []
        drops(c)
        assert seen(get("/pool/1?cc=max-age=1")) == "fwd=uri-miss; stored"
        begin = time.monotonic()
        get("/pool/2")
        assert int(get("/pool/2").header("age")) < 60
        for headers in ({"Cookie": "a=b"}, {"Cache-Control": "no-store"}):
            get("/pool/2", headers)
        get("/pool/3?cookie")
        time.sleep(max(0, begin + 1.1 - time.monotonic()))
        assert seen(get("/pool/1?cc=max-age=1")) == "fwd=stale; stored"
        details(c)
        with c.server.connect() as one, c.server.connect() as other:
            request = f"GET /pool/4?gate HTTP/1.1\r\nHost: {c.host}\r\n\r\n"
            one.send(request)
            wait_until(lambda: c.running == 1, what="one that computes")
            waits = c.counts()["waits"]
            other.send(request)
            wait_until(lambda: c.counts()["waits"] > waits, what="one that waits")
            c.open_gate()
            answers += [one.response(), other.response()]
        assert {seen(a) for a in answers} == told() - {"fwd=method"}


def details(c):
    (text,) = re.findall(r"^Details of (?:.+\n)+", TEXT, re.M)
    known = set(re.findall(r"`([\w-]+)`", text))
    for i, (query, headers) in enumerate((
            ("status=404", {}), ("cookie", {}), ("cc=private", {}), ("vary=X", {}),
            ("cc=max-age=0", {}), ("size=3000000", {}), ("", {"Authorization": "x"}),
            ("", {"Cookie": "a=b"}), ("a=" + "b" * 4096, {}))):
        first, more = verdict(c.get(f"/pool/d{i}?{query}", headers))
        assert first in ("fwd=uri-miss", "fwd=bypass")
        assert more["detail"] in known
        known.remove(more["detail"])
    assert known == {"stream", "body"}


def drops(c):
    host = {"Host": "example.org"}
    path = "/pool/7?full=1"

    def fill():
        for headers in (host, {**host, **GZIP}):
            c.get(path, headers)
            assert is_hit(c.get(path, headers))

    def check(what):
        for headers in (host, {**host, **GZIP}):
            assert not is_hit(c.get(path, headers)), what

    fill()
    assert c.post("/pool/8").status == c.post("/pool/7").status == 204
    check("the rule")
    requests = re.findall(r"^(?:POST /api/v1/control/cache/(\w+))?|(\{.*?\}+)(?= |$)",
                          block("POST /api").replace("/drafts/", "/pool/"), re.M)
    bodies = 0
    for name, body in requests:
        action = name or action
        if body:
            bodies += 1
            fill()
            assert c.control(action, json.loads(body)).status == 200, body
            check(body)
    assert bodies == 5


def test_keys_and_warm_up():
    config = block("query:page") + block("warmup:").replace("/drafts/", "/texts/") + \
        block("cache_policy").replace("256MB", "2MB").replace("16MB", "1MB")
    with Server("builtin:echo", config=config, workers=2) as s:
        def kept(path, headers=None):
            return is_hit(s.get(path, headers))

        cache = s.status()["cache"]
        assert (cache["policy"], cache["items_max"]) == ("lfu", 100000)
        for path, same, other in (("/search?q=a&from=mail", "/search?q=a", "/search?q=a&page=2"),
                                  ("/texts/7?a=1&b=2", "/texts/%37?a=1&b=2", "/texts/7?b=2&a=1")):
            assert [kept(p) for p in (path, same, other)] == [False, True, False]
        for path, one, same, other in (
                ("/texts/8", {"Accept-Language": "de"}, {"Accept-Language": "de", "X": "y"}, {}),
                ("/basket", {"Cookie": "session=1; a=b"}, {"Cookie": "session=1"},
                 {"Cookie": "a=b"}),
                ("/texts/9", {}, {"Cache-Control": "no-cache"}, {"Authorization": "x"}),
                ("/texts/0", {"Host": "A.example"}, {"Host": "a.example"},
                 {"Host": "a.example:80"})):
            assert [kept(path, h) for h in (one, same, other)] == [False, True, False], path
        assert kept("/basket")  # as who has a cookie, but not this one
        assert verdict(s.get("/texts/9", {"Cookie": "a=b"}))[0] == "fwd=bypass"
        assert verdict(s.request("GET", "/texts/9", body=b"x"))[0] == "fwd=bypass"
        assert kept("/texts/8", {"Accept-Language": "de"})
        r = s.request("POST", "/_capricorn/api/v1/control/cache/purge",
                      {"Content-Type": "application/json"}, b'{"pattern": "localhost/texts/*"}')
        assert r.json() == {"purged": 1}
        assert not kept("/texts/8", {"Accept-Language": "de"}) and kept("/search?q=a")
        assert seen(s.request("POST", "/texts/9")) in told()
        s.wait_log("Warm-up start: 2 URLs$")
        for headers in ({}, GZIP):
            assert kept("/texts/1", {"Host": "example.org", **headers})
        assert not kept("/texts/2", {"Host": "example.org"})  # has its time later
