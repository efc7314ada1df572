# SPDX-License-Identifier: MIT
"""Answers that are kept: over all workers, with the program as it is. What is decided about one answer
or another is in tests/unit/test_cache.c; here are the workers, the configuration, the operators."""
import gzip
import json
import mmap
import os
import re
import signal
import struct
import threading
import time

from lib import PATIENCE, SANITIZED, RawClient, Server, shm_is_small, wait_until
from modules import directory, module

ROUTES = """
routes:
  - path: /inline/{x}
    name: inline
    methods: [GET]
    cache: {ttl: 100s, tags: ["item:{x}", "all"]}
  - path: /pool/{x}
    name: pool
    methods: [GET]
    semaphores: [one]
    cache: {ttl: 100s, stale: 100s, key: [path], tags: ["item:{x}"]}
  - path: /stream/{x}
    name: stream
    cache: {ttl: 100s}
semaphores:
  one: {limit: 1, queue: 100}
cache:
  invalidate:
    - name: item_changed
      when: ["POST /inline/{x}", "POST /pool/{x}"]
      patterns: ["item:{x}"]
      cascade: true
"""


class Cached:
    """A server of tests/modules/cached.c."""

    def __init__(self, config=ROUTES, workers=2, env=None):
        self.dir = os.path.join(directory(), f"cached-{os.getpid()}-{time.monotonic_ns()}")
        os.mkdir(self.dir)
        os.chmod(self.dir, 0o755)
        self.counter = os.path.join(self.dir, "counter")
        self.gate = os.path.join(self.dir, "gate")
        with open(self.counter, "wb") as f:
            f.truncate(4096)
        os.chmod(self.counter, 0o666)
        with open(self.counter, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)
        settings = {"CACHE_MEMORY": "4m", "MAX_REQUESTS": 0, "LOG_SLOW_REQUESTS": "no",
                    "METRIC_ROUTES": 32}
        settings.update(env or {})
        text = config + f"module: {{counter: {self.counter}, gate: {self.gate}}}\n"
        self.server = Server(module("cached"), config=text, env=settings, workers=workers)

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *exc):
        return self.server.__exit__(*exc)

    @property
    def calls(self):
        return struct.unpack_from("I", self.map, 0)[0]

    @property
    def running(self):
        return struct.unpack_from("I", self.map, 8)[0]

    @property
    def cancelled(self):
        return struct.unpack_from("I", self.map, 12)[0]

    host = "localhost"  # as the client of the tests says it

    def open_gate(self):
        with open(self.gate, "wb"):
            pass

    def get(self, path, headers=None):
        return self.server.get(path, headers)

    def post(self, path):
        return self.server.request("POST", path)

    def control(self, what, body):
        s = self.server
        return s.request("POST", f"{s.prefix}/api/v1/control/cache/{what}",
                         {"Content-Type": "application/json"}, json.dumps(body).encode())

    def counts(self):
        return self.server.status()["cache"]["counts"]


def verdict(response):
    """("hit", {"ttl": "99"}) or ("fwd=uri-miss", {"stored": True}): Cache-Status without our name."""
    (text,) = response.header_all("cache-status")
    name, first, *rest = text.split("; ")
    assert name == "capricorn"
    return first, {k: v or True for k, _, v in (r.partition("=") for r in rest)}


def is_hit(response):
    return verdict(response)[0] == "hit"


def test_one_call_for_all_workers():
    with Cached(workers=4) as c:
        first = c.get("/inline/1")
        assert verdict(first) == ("fwd=uri-miss", {"stored": True})
        for _ in range(40):  # new connections: some for each worker
            r = c.get("/inline/1")
            assert is_hit(r) and r.body == first.body and r.status == 200
            assert r.header("etag") == first.header("etag")
            assert int(r.header("age")) < 100
            assert r.header("x-request-id") != first.header("x-request-id")
        assert c.calls == 1
        n = c.counts()
        assert (n["hits"], n["misses"], n["puts"]) == (40, 1, 1)
        m = c.server.metrics()
        assert m.sum("capricorn_cache_requests_total", result="hit") == 40
        assert m.sum("capricorn_cache_requests_total", result="miss") == 1
        assert m.sum("capricorn_cache_objects") == 1
        assert m.sum("capricorn_http_requests_total", route="inline", code="200") == 41
        cache = c.server.status()["cache"]
        assert cache["pinned"] == 0
        assert sum(cache["segments_by_state"].values()) == cache["segments"]


def test_kinds_and_sizes():
    with Cached() as c:
        for kind in ("inline", "pool", "stream"):
            for size in (100, 5000, 70000, 900000):
                path = f"/{kind}/{size}?size={size}"
                first, second = c.get(path), c.get(path)
                assert verdict(first) == ("fwd=uri-miss", {"stored": True}), path
                assert is_hit(second) and second.body == first.body, path
                assert len(second.body) == size
                assert second.header("content-length") == str(size)
        assert c.calls == 12
        part = c.get("/pool/70000", {"Range": "bytes=69990-"})
        assert (part.status, part.header("content-range")) == (206, "bytes 69990-69999/70000")
        assert part.body == first_bytes(c, "/pool/70000")[69990:]
        packed = {"Accept-Encoding": "gzip"}
        first, second = c.get("/pool/5000?size=5000", packed), c.get("/pool/5000", packed)
        assert not is_hit(first) and is_hit(second)
        assert first.header("content-encoding") == second.header("content-encoding") == "gzip"
        assert first.body == second.body and len(gzip.decompress(second.body)) == 5000
        assert c.server.metrics().sum("capricorn_compressed_responses_total") in (0, 1)


def first_bytes(c, path):
    return c.get(path).body


def test_one_computes_and_the_others_wait():
    """30 clients of 3 workers: one call, and one permit of one. Their answers are the same."""
    with Cached(workers=3) as c:
        clients = [c.server.connect() for _ in range(30)]
        for x in clients:
            x.send("GET /pool/1?gate HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: c.counts()["waits"] >= 1 and c.running == 1, what="one that computes")
        wait_until(lambda: sum(w["in_flight"] for w in c.server.status()["workers"]) >= 30,
                   what="all of them")
        (sem,) = [s for s in c.server.status()["semaphores"] if s["name"] == "one"]
        assert (sem["held"], sem["waiting"]) == (1, 0)
        c.open_gate()
        answers = [x.response() for x in clients]
        assert {a.status for a in answers} == {200}
        assert len({a.body for a in answers}) == 1
        assert c.calls == 1
        kinds = [verdict(a) for a in answers]
        assert sum("stored" in more for _, more in kinds) == 1
        assert sum("collapsed" in more or first == "hit" for first, more in kinds) == 29
        for x in clients:
            x.close()


def slots_of(c, *paths):
    """Of the workers that have a request for one of these."""
    s = c.server
    rows = s.get(s.prefix + "/api/v1/performance/active-requests").json()["requests"]
    return {r["slot"] for r in rows if r["path"] in paths}


def test_a_crowd_on_many_workers_is_one_call():
    """100 clients at once, of as many workers: all of them are there before the one call ends."""
    clients = 100
    workers = 16 if SANITIZED or shm_is_small() else 100  # 50 MB of it
    env = {"THREAD_POOL_SIZE": 1, "WORKER_CONNECTIONS": 64, "METRIC_ROUTES": 8,
           "WORKERS_MAX": workers}
    with Cached(workers=workers, env=env) as c:
        crowd = []
        for _ in range(clients):
            crowd.append(c.server.connect())
            crowd[-1].send("GET /pool/1?gate HTTP/1.1\r\nHost: a\r\n\r\n")

        def there():
            st = c.server.status()
            return sum(w["in_flight"] for w in st["workers"]) > clients and c.running == 1
        wait_until(there, what="all of them")
        slots = len(slots_of(c, "/pool/1"))
        print(f"in {slots} of {workers} workers")
        assert slots >= workers / 4
        assert (c.calls, c.server.status()["cache"]["leases"]) == (1, 1)
        c.open_gate()
        answers = [x.response() for x in crowd]
        assert {(a.status, a.body) for a in answers} == \
            {(200, b"call 1 of /pool/1 after 0 changes\n")}
        assert sum("stored" in verdict(a)[1] for a in answers) == 1
        assert c.calls == 1
        for x in crowd:
            x.close()
        st = c.server.status()["cache"]
        assert (st["counts"]["puts"], st["leases"], st["pinned"]) == (1, 0, 0)


def test_the_one_that_computes_is_killed():
    """Who waited in another worker goes on: the next one computes."""
    with Cached(workers=2) as c:
        clients = []

        def ask():
            clients.append(c.server.connect())
            clients[-1].send("GET /pool/1?gate HTTP/1.1\r\nHost: a\r\n\r\n")

        def in_both():
            ask()
            return len(slots_of(c, "/pool/1")) == 2 and c.counts()["waits"] > 0

        ask()
        wait_until(lambda: c.running == 1, what="one that computes")
        (busy,) = slots_of(c, "/pool/1")
        wait_until(in_both, what="some that wait in both workers", interval=0.05)
        (pid,) = [w["pid"] for w in c.server.status()["workers"] if w["slot"] == busy]
        c.server.expect_crash()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: c.calls == 2, what="a second call")
        c.open_gate()
        bodies = set()
        for x in clients:
            try:
                bodies.add(x.response().body)
            except (AssertionError, OSError, EOFError):
                pass  # it was the killed one's
            x.close()
        assert bodies == {b"call 2 of /pool/1 after 0 changes\n"}
        assert c.calls == 2


def test_what_is_not_kept_is_not_waited_for():
    with Cached() as c:
        for query in ("cookie", "cc=private", "cc=no-store", "vary=X", "status=500", "cc=max-age=0"):
            before = c.calls
            answers = [c.get(f"/inline/1?{query}") for _ in range(3)]
            assert c.calls == before + 3, query
            assert not any("stored" in verdict(a)[1] for a in answers), query
        assert c.get("/inline/2", {"Authorization": "x"}).status == 200
        assert verdict(c.get("/inline/2", {"Authorization": "x"}))[0] == "fwd=bypass"


def test_stale_while_one_computes():
    with Cached() as c:
        assert verdict(c.get("/pool/1?cc=max-age=1")) == ("fwd=uri-miss", {"stored": True})
        time.sleep(1.1)  # it is stale then, and for 100 s
        with c.server.connect() as a:
            a.send("GET /pool/1?gate HTTP/1.1\r\nHost: %s\r\n\r\n" % c.host)
            wait_until(lambda: c.running == 1, what="the one that computes")
            for _ in range(5):
                r = c.get("/pool/1")
                assert is_hit(r) and int(verdict(r)[1]["ttl"]) < 0 and int(r.header("age")) >= 1
                assert r.body == b"call 1 of /pool/1 after 0 changes\n"
            c.open_gate()
            assert verdict(a.response()) == ("fwd=stale", {"stored": True})
        assert is_hit(c.get("/pool/1"))
        assert c.get("/pool/1").body == b"call 2 of /pool/1 after 0 changes\n"
        assert c.calls == 2


def test_changes_drop():
    with Cached(workers=3) as c:
        for path in ("/inline/1", "/inline/2", "/pool/1"):
            c.get(path)
            assert is_hit(c.get(path))
        assert c.post("/inline/1?status=400").status == 400
        assert is_hit(c.get("/inline/1"))
        for _ in range(5):
            assert c.post("/inline/1").status == 204
            for _ in range(3):
                assert c.get("/inline/2").status == 200
            assert not is_hit(c.get("/inline/1"))  # wherever it is handled
            assert is_hit(c.get("/inline/1"))
        assert not is_hit(c.get("/pool/1"))
        assert is_hit(c.get("/inline/2"))


def test_nobody_sees_what_is_older_than_a_change():
    """Changes in one worker or another; who asks after one has been answered sees it, whoever
    computes, waits or stores meanwhile."""
    with Cached(workers=3) as c:
        done, seen, failed = [0], set(), []
        over = threading.Event()

        def read(path):
            try:
                with c.server.connect() as x:
                    while not over.is_set():
                        least = done[0]
                        r = x.get(path)
                        now = int(re.search(rb"after (\d+) changes", r.body).group(1))
                        seen.add(verdict(r)[0])
                        if now < least:
                            failed.append((path, least, now, r))
                            break
            except Exception as e:  # told by the thread that tests
                failed.append(e)

        readers = [threading.Thread(target=read, args=(p,)) for p in ["/inline/1", "/pool/1"] * 3]
        for t in readers:
            t.start()
        for _ in range(100):
            assert c.post("/inline/1").status == 204
            done[0] += 1
            time.sleep(0.003)  # some hits, too
        over.set()
        for t in readers:
            t.join()
        assert not failed
        assert "hit" in seen and "fwd=uri-miss" in seen
        assert c.counts()["invalidated"] + c.counts()["replaced"] > 0


def test_operators_drop():
    with Cached() as c:
        packed = {"Accept-Encoding": "gzip"}

        def fill():
            for path in ("/inline/1", "/inline/2", "/stream/3"):
                for headers in ({}, packed):
                    c.get(path, headers)
                    assert is_hit(c.get(path, headers))

        def left():
            return [p for p in ("/inline/1", "/inline/2", "/stream/3")
                    if is_hit(c.get(p)) and is_hit(c.get(p, packed))]

        for body, stay in (({"all": True}, []), ({"tag": "all"}, ["/stream/3"]),
                           ({"tag": "item:1"}, ["/inline/2", "/stream/3"]),
                           ({"pattern": "item:*"}, ["/stream/3"]),
                           ({"pattern": "*/inline/1"}, ["/inline/2", "/stream/3"]),
                           ({"pattern": "*/stream/*"}, ["/inline/1", "/inline/2"])):
            fill()
            assert c.control("purge", body).status == 200
            assert left() == stay, body
        fill()
        assert c.control("purge", {"key": c.host + "/inline/1"}).json() == {"purged": 1}
        assert left() == ["/inline/2", "/stream/3"]
        assert c.control("purge", {"key": "nowhere/"}).json() == {"purged": 0}
        for body in ({}, {"all": False}, {"tag": ""}, {"tag": 1}, {"other": "x"},
                     {"tag": "a", "key": "b"}, {"tag": "x" * 300}):
            assert c.control("purge", body).status == 400, body
        fill()
        r = c.control("invalidate", {"name": "item_changed", "values": {"x": "2"}})
        assert r.status == 200, r
        assert left() == ["/inline/1", "/stream/3"]
        assert c.control("invalidate", {"name": "nothing", "values": {}}).status == 404
        assert c.control("invalidate", {"name": "item_changed", "values": {}}).status == 400


def test_a_slow_client_has_a_copy():
    """It does not read; the object goes, and it gets its answer all the same."""
    with Cached(workers=1, env={"CACHE_MEMORY": "32m"}) as c:
        path = "/inline/1?size=5000000"  # more than the kernel takes for a client that does not read
        whole = c.get(path).body
        with RawClient(c.server.address, rcvbuf=4096) as x:
            x.send("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path, c.host))
            wait_until(lambda: c.server.status()["cache"]["pinned"] == 1, what="a pin")
            begin = time.monotonic()
            wait_until(lambda: c.server.status()["cache"]["pinned"] == 0, what="a copy")
            assert time.monotonic() - begin > 3
            assert c.control("purge", {"all": True}).status == 200
            assert x.response().body == whole
        assert c.calls == 1


def test_the_keeper_sweeps():
    with Cached(env={"CACHE_CLEANUP_INTERVAL": "1s"}) as c:
        assert verdict(c.get("/inline/1?cc=max-age=1"))[1] == {"stored": True}
        c.get("/inline/2")
        wait_until(lambda: c.counts()["expired"] == 1, what="the sweep")
        seen = c.server.status()["cache"]
        assert seen["items"] == 1 and seen["hit_ratio"] == 0
        assert seen["dead_bytes"] == seen["used_bytes"] - seen["live_bytes"] > 0
        history = wait_until(lambda: c.server.status()["cache"]["history"], what="a sample")
        assert history[0]["items"] == 1


def test_warm_up():
    """At the start, both forms of each; what fails is told."""
    config = ROUTES + """  warmup:
    - {name: first, urls: [/inline/1, /inline/2?size=2000, /stream/3], schedule: "@start", host: localhost}
    - {name: bad, urls: [/inline/4?status=500], schedule: "@start"}
    - {name: later, urls: [/inline/5], schedule: "0 0 1 1 *"}
"""
    with Cached(config) as c:
        c.server.wait_log(r"Warm-up first: 3 URLs$")
        c.server.wait_log(r"Warm-up bad: 2 of 2 requests failed$")
        calls = c.calls
        assert calls == 8
        for path in ("/inline/1", "/inline/2?size=2000", "/stream/3"):
            assert is_hit(c.get(path)) and is_hit(c.get(path, {"Accept-Encoding": "gzip"}))
        assert c.calls == calls


def test_values_of_a_module():
    with Cached() as c:
        def value(key):
            r = c.get(f"/value/{key}")
            return r.body.decode() if r.status == 200 else None

        assert value("a") is None
        for _ in range(4):
            assert c.get("/value/a?put=one&tag=t").body == b"0"
            assert c.get("/value/b?put=two&tag=u").body == b"0"
            assert [value("a") for _ in range(4)] == ["one"] * 4
            assert c.get("/value/none?drop=t").body == b"0"
            assert [value("a") for _ in range(4)] == [None] * 4
            assert value("b") == "two"
        assert c.get("/value/b?delete").body == b"1"
        assert c.get("/value/b?delete").body == b"0"
        assert value("b") is None
        assert c.get("/value/c?put=x&ttl=1").body == b"0"
        wait_until(lambda: value("c") is None, what="its end")
        # Neither is ever taken for the other.
        assert c.get("/value/e?put=x").body == b"0"
        assert not is_hit(c.get("/inline/e"))
        assert c.control("purge", {"pattern": "*"}).status == 200
        assert value("e") is None
        # What is computed while it is made invalid is not kept.
        with c.server.connect() as x:
            x.send("GET /value/d?compute&tag=v HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: c.running == 1, what="one that computes")
            assert c.control("purge", {"tag": "v"}).status == 200
            c.open_gate()
            assert x.response().body == b"computed"
        assert value("d") is None


class Crowd:
    """Clients that ask for values at the same time."""

    def __init__(self, c):
        self.c = c
        self.clients = []
        self.waits = c.counts()["waits"]

    def ask(self, path):
        self.clients.append(self.c.server.connect())
        self.clients[-1].send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")

    def lead(self, path):
        self.ask(path)
        wait_until(lambda: self.c.running == 1, what="one that computes")

    def all_wait(self, n):
        wait_until(lambda: self.c.counts()["waits"] >= self.waits + n and self.c.running == 1,
                   what=f"{n} who wait")

    def answers(self):
        found = []
        for x in self.clients:
            try:
                found.append(x.response())
            except (AssertionError, OSError, EOFError):
                found.append(None)  # its worker was killed
            x.close()
        return found


def test_one_computes_a_value():
    """Pool and async handlers of three workers wait for one; inline handlers are told."""
    with Cached(workers=3, env={"THREAD_POOL_SIZE": 16}) as c:
        crowd = Crowd(c)
        crowd.lead("/fill/pool/k?gate")
        for i in range(20):
            crowd.ask(f"/fill/{'pool' if i % 2 else 'async'}/k?gate")
        crowd.all_wait(20)
        assert c.get("/fill/inline/k").status == 503
        begun = time.monotonic()
        for _ in range(5):  # they do not wait for long
            for kind in ("pool", "async"):
                assert c.get(f"/fill/{kind}/k?wait=1").status == 503
        assert time.monotonic() - begun < 2 * PATIENCE
        # Whose client leaves does not wait on.
        crowd.waits = c.counts()["waits"]
        leavers = [c.server.connect() for _ in range(2)]
        for x, kind in zip(leavers, ("pool", "async")):
            x.send(f"GET /fill/{kind}/k?gate HTTP/1.1\r\nHost: a\r\n\r\n")
        crowd.all_wait(2)
        for x in leavers:
            x.close()
        wait_until(lambda: c.cancelled == 2, what="who have left")
        assert c.get("/older/k").status == 404
        c.open_gate()
        assert {(a.status, a.body) for a in crowd.answers()} == {
            (200, b"call 1 of /fill/pool/k after 0 changes\n")}
        assert c.get("/fill/inline/k").body == b"call 1 of /fill/pool/k after 0 changes\n"
        assert c.calls == 1
        assert c.get("/older/z").status == 404
        assert c.get("/turns").body == b"3 0 3 0"


def test_what_becomes_of_those_who_wait_for_a_value():
    config = ROUTES.replace("routes:", "routes:\n  - {path: '/fill/async/{key}', timeout: 1s}")
    with Cached(config=config, env={"THREAD_POOL_SIZE": 16}) as c:
        # What fails is computed by the next one.
        crowd = Crowd(c)
        crowd.lead("/fill/pool/l?gate&fail")
        for _ in range(3):
            crowd.ask("/fill/pool/l")
        crowd.all_wait(3)
        c.open_gate()
        first, *rest = crowd.answers()
        assert first.status == 500
        assert len({a.body for a in rest}) == 1 and {a.status for a in rest} == {200}
        assert c.calls == 2
        os.unlink(c.gate)

        # What was made invalid meanwhile is not kept; what the next one computes is.
        crowd = Crowd(c)
        crowd.lead("/fill/pool/m?gate&tag=t")
        for _ in range(2):
            crowd.ask("/fill/pool/m?tag=t")
        crowd.all_wait(2)
        assert c.control("purge", {"tag": "t"}).status == 200
        c.open_gate()
        first, second, third = crowd.answers()
        assert first.body.startswith(b"call 3 ")
        assert second.body == third.body and second.body.startswith(b"call 4 ")
        assert c.calls == 4
        os.unlink(c.gate)

        # For what there is no room they compute beside each other.
        crowd = Crowd(c)
        crowd.lead("/fill/pool/n?gate&size=8000000")
        for _ in range(3):
            crowd.ask("/fill/pool/n?gate=2&size=8000000")
        crowd.all_wait(3)
        c.open_gate()
        wait_until(lambda: c.running == 3, what="all at once")
        with open(c.gate + "2", "wb"):
            pass
        assert {a.status for a in crowd.answers()} == {500}
        assert c.calls == 8
        os.unlink(c.gate)

        # One whose time is over is told.
        crowd = Crowd(c)
        crowd.lead("/fill/pool/o?gate")
        assert c.get("/fill/async/o?wait=60000").status == 504
        wait_until(lambda: c.cancelled == 1, what="who was too late")
        c.open_gate()
        assert crowd.answers()[0].status == 200


def test_the_one_that_computes_a_value_is_killed():
    """Who waits in another worker computes, whatever kind of handler it is."""
    for kind in ("async", "pool"):
        with Cached() as c:
            crowd = Crowd(c)
            crowd.lead("/fill/pool/n?gate")
            (busy,) = slots_of(c, "/fill/pool/n")

            def in_both(crowd=crowd, kind=kind, c=c):
                crowd.ask(f"/fill/{kind}/n")
                return len(slots_of(c, "/fill/pool/n", f"/fill/{kind}/n")) == 2

            wait_until(in_both, what="one who waits in another worker", interval=0.05)
            crowd.all_wait(len(crowd.clients) - 1)
            (pid,) = [w["pid"] for w in c.server.status()["workers"] if w["slot"] == busy]
            c.server.expect_crash()
            os.kill(pid, signal.SIGKILL)
            bodies = {a.body for a in crowd.answers() if a}
            assert bodies == {f"call 1 of /fill/{kind}/n after 0 changes\n".encode()}
            assert c.calls == 1


def test_without_memory_nothing_is_kept():
    with Cached(env={"CACHE_MEMORY": "0"}) as c:
        for _ in range(2):
            r = c.get("/inline/1")
            assert (r.status, r.header_all("cache-status")) == (200, [])
        assert c.calls == 2
        assert c.get("/turns").body == b"3 -6 3 -6"
        assert c.server.status()["cache"] == {}
        assert c.control("purge", {"all": True}).status == 404
