# SPDX-License-Identifier: MIT
"""What a module has of its worker: settings, metrics, log, timers, hooks; over several workers."""
import signal
import time

import pytest

from lib import PATIENCE, wait_until
from modules import Notes, probe


CONFIG = """\
module:
  text: some text
  number: 17
  real: 2.50
  yes: true
  nothing: null
  database: {host: db, ports: [1, 2], deep: {er: x}}
  list: [a, {b: c}]
"""


@pytest.fixture(scope="module")
def s():
    with probe(config=CONFIG, workers=1) as server:
        yield server


@pytest.fixture
def c(s):
    with s.connect() as client:
        yield client


def test_settings(c):
    for path, want in (("text", "some text"), ("number", "17"), ("real", "2.50"), ("yes", "true"),
                       ("database.host", "db"), ("database.ports.0", "1"),
                       ("database.ports.1", "2"), ("database.deep.er", "x"), ("list.0", "a"),
                       ("list.1.b", "c")):
        r = c.get(f"/setting?path={path}")
        assert (r.status, r.body.decode()) == (200, want), path
    for path in ("none", "database", "list", "database.ports.2", "database.ports.x", "text.x",
                 "", ".", "database.", "database..host"):
        assert c.get(f"/setting?path={path}").status == 404, path
    doc = c.get("/settings").json()
    assert doc["database"] == {"host": "db", "ports": [1, 2], "deep": {"er": "x"}}
    assert doc["number"] == 17 and doc["yes"] is True and doc["real"] == 2.5


def test_no_settings():
    with probe(config="module:\n") as s:
        assert s.get("/settings").json() == {}
        assert s.get("/setting?path=a").status == 404


def test_worker(s, c):
    who = c.get("/who").json()
    assert who == {"pid": s.worker_pids()[0], "slot": 1, "generation": 1, "data": True}


def test_nothing_is_added_after_the_start(s, c):
    assert c.get("/add-late").body == b"-4 none"
    s.wait_log("routes are added in start\\(\\) only")
    s.wait_log("metrics are made in start\\(\\) only")
    assert c.get("/later").status == 404


def test_log(s, c):
    r = c.request("GET", "/log", {"X-Request-Id": "my-request"})
    assert r.body == b"my-request"
    s.wait_log(r"\[WARNING\] with request \(request my-request\)$")
    s.wait_log(r"\[ERROR\] without one$")
    assert not s.log_lines("not shown")


def test_timers(s, c):
    assert int(c.get("/timers").body) in (1023, 1024) # that of start() may be there
    # The one of start() has ticked three times, and is gone; none of the others has.
    wait_until(lambda: s.get("/notes").json().get("tick") == 3, what="three ticks")
    assert int(c.get("/timers").body) == 1024


def test_posts(s, c):
    notes = Notes(s)
    for path in ("/async/post", "/async/post-loop", "/async/post"):
        assert c.get(path).body == b"posted"
    assert notes["wrong_worker"] == 0


def test_what_is_posted_is_done_at_once(s, c):
    """Not with the next heartbeat of an idle loop."""
    took = []
    for _ in range(9):
        begin = time.monotonic()
        assert c.get("/async/post-loop").body == b"posted"
        took.append(time.monotonic() - begin)
    assert sorted(took)[4] < 0.03 * PATIENCE


def test_threads_of_the_module(c):
    r = c.get("/async/thread")
    assert (r.body, r.header("x-thread")) == (b"thread", "yes")


# ---- metrics, over two workers ----


def metric(s, name):
    m = s.metrics()
    [found] = [x for x in s.status()["module"]["metrics"] if x["name"] == name]
    return m, found


def on_each(s, path, pids):
    """Asks each worker once; their answers by pid."""
    got = {}

    def ask():
        with s.connect() as c:
            pid = c.get("/who").json()["pid"]
            if pid in pids and pid not in got:
                assert int(c.get(path).body) == pid
                got[pid] = True
        return len(got) == len(pids)
    wait_until(ask, 30, "an answer of each worker", interval=0)


def test_metrics_of_several_workers():
    with probe(workers=2) as s:
        pids = s.worker_pids()
        on_each(s, "/measure?n=3&g=5&us=2000", pids)
        m, j = metric(s, "probe_hits_total")
        assert m.sum("probe_hits_total", kind="a") == 6 == j["value"]
        assert m.types["probe_hits_total"] == "counter"
        assert m.help["probe_hits_total"] == "Hits of the probe."
        assert m.sum("probe_held") == 10 == metric(s, "probe_held")[1]["value"]
        h = metric(s, "probe_seconds")[1]
        assert m.sum("probe_seconds_count") == 2 == h["count"]
        assert 0.0035 < m.sum("probe_seconds_sum") < 0.0045
        assert 0.0017 < h["p50"] < 0.0023
        assert j["current"] is True

        # The counter stays, the share of the gauge goes with its worker.
        s.kill(signal.SIGKILL, pids[0])
        new = wait_until(lambda: _without(s, pids[0], 2), 20, "another worker")
        m, _ = metric(s, "probe_hits_total")
        assert m.sum("probe_hits_total") == 6
        assert m.sum("probe_seconds_count") == 2
        assert m.sum("probe_held") == 5
        assert len(s.log_lines("probe: stop in slot")) == 0 # a kill calls no hook
        on_each(s, "/measure?n=1&set=-7", [p for p in new if p not in pids])
        m, _ = metric(s, "probe_hits_total")
        assert m.sum("probe_hits_total") == 7
        assert m.sum("probe_held") == 5 - 7

        # After a reload the same names are the same metrics.
        s.kill(signal.SIGHUP)
        s.wait_log("Reload finished: generation 2", 30)
        wait_until(lambda: len(s.status()["workers"]) == 2, what="the end of the old ones")
        m, _ = metric(s, "probe_hits_total")
        assert m.sum("probe_hits_total") == 7
        assert m.sum("probe_held") == 0
        assert len(s.log_lines("probe: start in slot")) == 2 + 1 + 2
        assert len(s.log_lines("probe: stop in slot")) == 2
        assert s.stop() == 0
        assert len(s.log_lines("probe: stop in slot")) == 4


def test_a_crash_in_a_handler_is_told():
    with probe(workers=1) as s:
        s.expect_crash()
        with s.connect() as c:
            c.send("GET /crash HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises((EOFError, ConnectionResetError)):
                c.response()
        s.wait_log("SIGABRT|exited with code 1")
        s.wait_log(r"GET /crash")
        wait_until(lambda: _answers(s), what="the next worker")
        assert not s.log_lines("probe: stop")


def _without(s, pid, n):
    """The workers, once they are n and that one is none of them."""
    now = s.worker_pids()
    return now if len(now) == n and pid not in now else None


def _answers(s):
    try:
        return s.get("/who").status == 200
    except (OSError, EOFError):
        return False
