# SPDX-License-Identifier: MIT
"""/metrics: the format, the names, exactness."""
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from lib import wait_until


NAMES = ("http_requests_total http_request_duration_seconds http_requests_in_flight errors_total "
         "worker_up worker_busy_ratio worker_restarts_total shm_bytes").split()


def fetch(server):
    r = server.get("/metrics")
    assert r.status == 200
    assert r.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    return r.body


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_has_nothing_to_say(server):
    for _ in range(3):
        server.request("POST", "/echo", body=b"x")
    p = subprocess.run(["promtool", "check", "metrics"], input=fetch(server), capture_output=True,
                       timeout=30, check=False)
    assert (p.returncode, p.stdout, p.stderr) == (0, b"", b"")


def test_names_and_types(server):
    server.get("/")
    m = server.metrics()
    for name in NAMES:
        assert "capricorn_" + name in m.types, name
    for name, kind in m.types.items():
        assert name.startswith("capricorn_")
        assert m.help[name].endswith("."), name
        assert name.endswith("_total") == (kind == "counter"), name
    families = {re.sub("_(bucket|sum|count)$", "", n) if n not in m.types else n
                for n, _, _ in m.samples}
    assert families == set(m.types)


def test_requests_are_exact(server):
    with server.connect() as c:
        for _ in range(11):
            c.request("POST", "/echo", body=b"abc")
        for _ in range(5):
            c.get("/")
        c.get("/nothing")
        c.request("PROPFIND", "/nothing")
    m = server.metrics()
    total = "capricorn_http_requests_total"
    assert m.sum(total, route="/echo", method="POST", code=200) == 11
    assert m.sum(total, route="/", method="GET", code=200) == 5
    assert m.sum(total, route="other", method="GET", code=404) == 1
    assert m.sum(total, route="other", method="OTHER", code=404) == 1
    assert m.sum(total) == 18 == server.status()["totals"]["requests"]
    assert m.sum("capricorn_http_responses_total") == 18
    assert m.sum("capricorn_status_requests_total") > 0


def test_histograms_are_consistent(server):
    with server.connect() as c:
        for _ in range(25):
            c.request("POST", "/echo", body=b"abc")
    m = server.metrics()
    name = "capricorn_http_request_duration_seconds"
    for labels, count in m.get(name + "_count"):
        buckets = m.get(name + "_bucket", **labels)
        values = [v for _, v in buckets]
        bounds = [float(lb["le"]) for lb, _ in buckets]
        assert values == sorted(values) and bounds == sorted(bounds)
        assert bounds[-1] == float("inf") and values[-1] == count
    assert m.sum(name + "_count", route="/echo") == 25
    assert 0 < m.sum(name + "_sum", route="/echo") < 25


def test_workers_and_shared_memory(server):
    wait_until(lambda: server.metrics().sum("capricorn_worker_resident_memory_bytes") > 0, 10,
               "sampled memory")
    m = server.metrics()
    assert m.sum("capricorn_worker_up") == 2 == m.sum("capricorn_workers_wanted")
    assert {lb["slot"] for lb, _ in m.get("capricorn_worker_up")} == {"1", "2"}
    for labels, used in m.get("capricorn_shm_bytes", state="used"):
        assert used <= m.sum("capricorn_shm_bytes", section=labels["section"], state="capacity")
    assert m.sum("capricorn_build_info") == 1


def test_errors_are_counted(server):
    with server.connect() as c:
        c.send("BROKEN\r\n\r\n")
        assert c.response().status == 400
    assert server.metrics().sum("capricorn_errors_total", type="bad_request") == 1


def errors(server, **labels):
    return server.metrics().sum("capricorn_errors_total", **labels)


def test_errors_are_counted_by_route(serve):
    s = serve(workers=1, env={"REQUEST_TIMEOUT": "400ms", "MIN_BODY_RATE": "0"})
    assert errors(s) == 0
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n"
    with s.connect() as c:
        c.send(head + b"\r\nabc")
        assert c.response().status == 408
    assert errors(s, route="/echo", type="request_timeout") == 1
    with s.connect() as c:
        c.send(head + b"Expect: 100-continue\r\n\r\n")
        assert c.read_line().startswith(b"HTTP/1.1 100 ")  # it has come to its handler
        c.reset()
    wait_until(lambda: errors(s) == 2, 5, "a second error")
    with s.connect() as c:
        c.send("BROKEN\r\n\r\n")
        assert c.response().status == 400
    assert errors(s, route="other", type="bad_request") == 1
    assert errors(s, route="/echo") == 2
    assert errors(s) == 3
    counters = json.loads(s.get("/api/v1/performance/stats").body)["counters"]
    assert counters["timeouts_request"] + counters["client_gone"] == 2
    assert counters["bad_requests"] == 1
    s.kill(signal.SIGKILL, s.worker_pids()[0])
    wait_until(lambda: s.status()["exits"], 10, "the reaping")
    s.wait_ready()
    assert errors(s, route="/echo") == 2


def test_totals_never_go_down(server):
    def totals():
        m = server.metrics()
        return {(n, tuple(sorted(lb.items()))): v for n, lb, v in m.samples
                if n.endswith(("_total", "_count", "_bucket"))}
    with server.connect() as c:
        for _ in range(10):
            c.request("POST", "/echo", body=b"abc")
    last = totals()
    for pid in server.worker_pids():
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda p=pid: p not in server.worker_pids(state=None), 10, "the reaping")
        now = totals()
        assert [k for k, v in last.items() if now.get(k, -1) < v] == []
        last = now
    server.wait_ready()


def test_keeper_killed(server):
    pid = server.keeper_pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: server.status()["keeper"] and server.keeper_pid() != pid, 10, "a new keeper")
    assert server.get("/metrics").status == 200
