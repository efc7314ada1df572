# SPDX-License-Identifier: MIT
"""The built-in API on a running server: documents, health, methods, agreement between processes."""
import os
import signal
import threading

import pytest

from lib import RawClient, wait_until


FIELDS = ("server version uptime_seconds generation master workers keeper totals latency_ms "
          "semaphores rate_limits cache shm exits events config listeners").split()
WORKER_FIELDS = ("slot pid state generation age_seconds requests connections in_flight rss_bytes "
                 "heartbeat_age_ms request").split()
LATER = ("/dashboard /api/v1/performance/dashboard /api/v1/performance/operations "
         "/api/v1/performance/alerts /api/v1/performance/alerts/thresholds "
         "/api/v1/performance/resource-usage").split()
CONTROL = "workers".split()


def test_status_has_the_fields(server):
    st = server.status()
    assert [f for f in FIELDS if f not in st] == []
    assert st["server"] == "capricorn"
    assert st["master"]["pid"] == server.pid
    assert len(st["workers"]) == 2
    for w in [*st["workers"], st["keeper"]]:
        assert [f for f in WORKER_FIELDS if f not in w] == []
        assert w["state"] == "ready"
        os.kill(w["pid"], 0)
        assert 0 <= w["heartbeat_age_ms"] < 5000
    assert set(st["latency_ms"]) == {"p50", "p95", "p99", "max"}
    assert set(st["totals"]["responses"]) == {"1xx", "2xx", "3xx", "4xx", "5xx"}
    assert [x["name"] for x in st["semaphores"]] == ["global", "llm"]
    assert st["rate_limits"] == [] and st["cache"]["items"] == 0
    assert st["shm"]["name"] == server.shm_name
    assert st["shm"]["size_bytes"] == os.stat("/dev/shm" + server.shm_name).st_size
    for section in st["shm"]["sections"]:
        assert 0 <= section["used_bytes"] <= section["capacity_bytes"], section
    assert st["listeners"] == server.urls
    assert st["exits"] == []


def test_the_process_that_answers_shows_its_request(server):
    st = server.get("/status", {"X-Request-Id": "who-am-i"}).json()
    mine = [w["request"] for w in st["workers"] if w["request"]]
    assert ("who-am-i", "GET", "/status") in [(m["id"], m["method"], m["path"]) for m in mine]


def test_rss_is_sampled(server):
    wait_until(lambda: all(w["rss_bytes"] > 100000 for w in server.status()["workers"]), 10,
               "sampled memory")
    assert server.status()["keeper"]["rss_bytes"] > 100000


def test_totals_are_exact(server):
    before = server.status()["totals"]
    with server.connect() as c:
        for _ in range(30):
            assert c.request("POST", "/echo", body=b"abc").status == 200
        for _ in range(7):
            assert c.get("/nothing").status == 404
    after = server.status()["totals"]
    assert after["requests"] - before["requests"] == 37
    assert after["responses"]["2xx"] - before["responses"]["2xx"] == 30
    assert after["responses"]["4xx"] - before["responses"]["4xx"] == 7
    assert after["status_requests"] > before["status_requests"]
    assert after["bytes_sent"] > before["bytes_sent"]


def test_totals_survive_a_kill(server):
    with server.connect() as c:
        for _ in range(20):
            assert c.request("POST", "/echo", body=b"x").status == 200
    victims = server.worker_pids()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(server.status()["exits"]) == 2, 10, "both exits")
    server.wait_ready()
    st = server.status()
    assert st["totals"]["requests"] == 20
    for e in st["exits"]:
        assert e["pid"] in victims
        assert (e["signal"], e["code"], e["reason"], e["kind"]) == \
            ("SIGKILL", None, "killed", "worker")
    m = server.metrics()
    assert m.sum("capricorn_worker_restarts_total", reason="killed") == 2
    assert m.sum("capricorn_http_requests_total") == 20


def test_stats(server):
    with server.connect() as c:
        for _ in range(5):
            c.request("POST", "/echo", body=b"x")
        c.get("/echo")
    doc = server.get("/api/v1/performance/stats").json()
    routes = {r["route"]: r for r in doc["routes"]}
    assert set(routes) == {"other", "/", "/echo"}
    assert routes["/echo"]["requests"] == 6
    assert routes["/echo"]["codes"] == {"200": 5, "405": 1}
    assert 0 < routes["/echo"]["latency_ms"]["p50"] <= routes["/echo"]["latency_ms"]["max"]
    assert doc["totals"]["requests"] == sum(r["requests"] for r in doc["routes"])
    assert doc["counters"]["requests"] == 6


def test_active_requests(server):
    with server.connect() as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: slow-one\r\n"
               "Content-Length: 5\r\n\r\nab")

        def mine():
            rows = server.get("/api/v1/performance/active-requests").json()["requests"]
            return [r for r in rows if r["id"] == "slow-one"]
        row = wait_until(mine, 5, "the row")[0]
        assert (row["method"], row["path"], row["client"]) == ("POST", "/echo", "127.0.0.1")
        assert row["pid"] in server.worker_pids()
        assert row["age_ms"] >= 0
        c.send("cde")
        assert c.response().body == b"abcde"
    wait_until(lambda: not mine(), 5, "the end of the row")


def test_open_paths(server):
    assert server.get("/livez").json() == {"status": "alive"}
    assert server.get("/readyz").json() == {"status": "ready"}
    doc = server.get("/health").json()
    assert doc["status"] == "healthy"
    assert {c["status"] for c in doc["checks"].values()} == {"pass"}
    for path in ("/livez", "/readyz", "/health", "/status", "/metrics"):
        r = server.request("HEAD", path)
        assert r.status == 200 and int(r.header("content-length")) > 0
        assert r.header("cache-control") == "no-store"


def test_a_stuck_worker_degrades_health(serve):
    s = serve(workers=2, env={"STATUS_BIND": "127.0.0.1:0", "WORKER_TIMEOUT": "60s"})
    pid = s.worker_pids()[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: s.get("/health").json()["status"] == "degraded", 20, "degraded")
        states = {w["pid"]: w["state"] for w in s.status()["workers"]}
        assert states[pid] == "stuck"
        assert s.get("/readyz").status == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: s.get("/health").json()["status"] == "healthy", 10, "healthy")


def test_a_failed_reload_degrades_health(serve):
    s = serve(workers=1, config="keepalive_timeout: 60s\n")
    assert s.get("/health").json()["status"] == "healthy"
    s.write_config("keepalive_timeout: nonsense\n")
    s.kill(signal.SIGHUP)
    doc = wait_until(lambda: (d := s.get("/health").json())["status"] == "degraded" and d, 10,
                     "degraded")
    assert "keepalive_timeout" in doc["checks"]["reload"]["last_error"]
    assert "keepalive_timeout" in s.status()["config"]["last_error"]["text"]
    s.write_config("keepalive_timeout: 30s\n")
    s.kill(signal.SIGHUP)
    wait_until(lambda: s.get("/health").json()["status"] == "healthy", 10, "healthy")
    assert s.status()["config"]["last_error"] is None


def test_slow_requests(server):
    doc = server.get("/api/v1/performance/slow-requests").json()
    assert doc["threshold_seconds"] == 1 and doc["logged"] is True
    assert doc["requests"] == [] and doc["slow_total"] == 0


@pytest.mark.parametrize("path", LATER)
def test_later(server, path):
    r = server.get(path)
    assert r.status == 501 and r.header("content-type") == "application/problem+json"
    assert "not built yet" in r.json()["detail"]
    r = server.request("POST", path)
    assert (r.status, r.header("allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", CONTROL)
def test_control_later(server, path):
    path = "/api/v1/control/" + path
    r = server.request("POST", path, {"Content-Type": "application/json"}, b"{}")
    assert r.status == 501
    r = server.get(path)
    assert (r.status, r.header("allow")) == (405, "POST")


def test_every_process_says_the_same(serve):
    s = serve(workers=3, env={"STATUS_BIND": "127.0.0.1:0"})
    with s.connect() as c:
        for _ in range(10):
            c.request("POST", "/echo", body=b"x")
    seen = {}
    clients = [s.connect() for _ in range(12)]  # they are spread over the workers
    try:
        wait_until(lambda: [add_answer(c, seen) for c in clients] and len(seen) == 3, 20,
                   "an answer of each worker")
    finally:
        for c in clients:
            c.close()
    assert len(set(seen.values())) == 1
    at = ("127.0.0.1", int(s.wait_log(r"Status at: http://127\.0\.0\.1:(\d+)").group(1)))
    with RawClient(at) as c:
        assert what_all_say(c.get("/status").json()) == set(seen.values()).pop()


def what_all_say(st):
    return str((st["totals"]["requests"], st["generation"], st["listeners"], st["master"]["pid"],
                sorted(w["pid"] for w in st["workers"]), st["keeper"]["pid"]))


def add_answer(client, seen):
    """Notes who answered (it shows its own request) and what."""
    st = client.get("/status", {"X-Request-Id": "me"}).json()
    who = [w["slot"] for w in st["workers"] if w["request"] and w["request"]["id"] == "me"]
    if who:
        seen[who[0]] = what_all_say(st)


def test_prefix(serve):
    s = serve("builtin:hello", env={"STATUS_PREFIX": "/-/inside"})
    assert s.get("/-/inside/status").json()["server"] == "capricorn"
    assert s.get("/-/inside/nothing").body == b"Hello, World!"
    assert s.get("/status").body == b"Hello, World!"


def test_status_while_busy(server):
    stop = threading.Event()

    def load():
        with server.connect() as c:
            while not stop.is_set():
                assert c.request("POST", "/echo", body=b"x" * 100).status == 200
    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    last = 0
    try:
        for _ in range(50):
            n = server.status()["totals"]["requests"]
            assert n >= last
            last = n
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert last > 0
