# SPDX-License-Identifier: MIT
"""Deadlines, clients that leave, full queues: what handlers hear, and what everybody else sees."""
import contextlib
import os
import signal
import time

import pytest

from lib import PATIENCE, wait_until
from modules import Notes, errors, probe


ACTIVE = "/_capricorn/api/v1/performance/active-requests"


@pytest.fixture(scope="module")
def s():
    with probe(env={"SLOW_REQUEST_THRESHOLD": "60s"}) as server:
        yield server


@pytest.fixture(scope="module")
def narrow():
    """One thread, and room for one call to wait."""
    with probe(env={"THREAD_POOL_SIZE": 1, "TASK_QUEUE_SIZE": 1}) as server:
        yield server


def rows(s, path):
    return [r["state"] for r in s.get(ACTIVE).json()["requests"] if r["path"] == path]


def send_get(c, path):
    c.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")


# ---- deadlines ----


def test_a_pool_handler_is_late(s):
    notes, before = Notes(s), errors(s, "request_timeout")
    begin = time.monotonic()
    with s.connect() as c:
        r = c.get("/pool/short")
    assert r.status == 504
    assert r.header("connection") == "close"
    assert 0.15 < time.monotonic() - begin < 2 * PATIENCE
    # Its handler runs on, and is seen to.
    assert notes["gate_reached"] == 1 and notes["pool_cancelled"] == 0
    assert rows(s, "/pool/short") == ["abandoned"]
    s.get("/gate/open")
    wait_until(lambda: rows(s, "/pool/short") == [], what="the end of the row")
    assert notes["pool_cancelled"] == 1
    assert errors(s, "request_timeout") - before == 1


def test_an_async_handler_is_late(s):
    notes = Notes(s)
    assert s.get("/async/short").status == 504
    assert notes["async_cancelled"] == 1
    assert notes["cancel_over"] == 1 # too late: the client has had its 504
    assert rows(s, "/async/short") == []


def test_an_async_thread_is_late(s):
    assert s.get("/async/thread-short?gate=1").status == 504
    assert rows(s, "/async/thread-short") == ["abandoned"]
    s.get("/gate/open")
    wait_until(lambda: rows(s, "/async/thread-short") == [], what="the end of the row")


def test_the_deadline_moves_both_ways(s):
    for path in ("/pool/gate?deadline=100&heed=1", "/async/hold?deadline=100"):
        begin = time.monotonic()
        assert s.get(path).status == 504
        assert time.monotonic() - begin < 10 # not REQUEST_TIMEOUT's 30 s
    # Later than the route says, and never.
    assert s.get("/async/short?ms=500&deadline=5000").body == b"async"
    assert s.get("/async/short?ms=500&deadline=0").body == b"async"
    for deadline in (60000, 0):
        notes = Notes(s)
        with s.connect() as c:
            send_get(c, f"/pool/short?deadline={deadline}")
            wait_until(lambda: notes["gate_reached"], what="the handler")
            time.sleep(0.4) # the route's own deadline passes
            s.get("/gate/open")
            assert c.response().body == b"pool"
    notes = Notes(s)
    with s.connect() as c: # from a thread of the module's
        send_get(c, "/async/thread-short?extend=60000")
        assert c.response().body == b"thread"


def test_a_deadline_in_the_queue(narrow):
    s, notes = narrow, Notes(narrow)
    with s.connect() as c1, s.connect() as c2:
        send_get(c1, "/pool/gate")
        wait_until(lambda: notes["pool_began"] == 1, what="the first")
        send_get(c2, "/pool/short")
        assert c2.response().status == 504
        s.get("/gate/open")
        assert c1.response().status == 200
    assert s.get("/pool/answer").status == 200
    assert notes["pool_began"] == 1 # the second one has never run
    assert rows(s, "/pool/short") == []


# ---- clients that leave ----


@pytest.mark.parametrize("how", ["reset", "shutdown"])
def test_the_client_leaves(s, how):
    notes = Notes(s)
    with s.connect() as c, s.connect() as d:
        send_get(c, "/pool/gate?heed=1")
        send_get(d, "/async/hold")
        wait_until(lambda: notes["gate_reached"] == 1 and notes["async_began"] == 1,
                   what="the handlers")
        getattr(c, how)()
        getattr(d, how)()
        wait_until(lambda: notes["pool_cancelled"] == 1 and notes["async_cancelled"] == 1,
                   what="the cancellations")
        if how == "shutdown": # it may still wait for an answer
            assert c.response().status == 503
            assert d.response().status == 503
    wait_until(lambda: rows(s, "/pool/gate") + rows(s, "/async/hold") == [], what="no rows")
    assert notes["pool_in_time"] == notes["async_in_time"] == 0


def test_a_client_that_shuts_its_side_with_the_request(s):
    notes = Notes(s)
    with s.connect() as c:
        send_get(c, "/async/hold")
        c.shutdown()
        wait_until(lambda: notes["async_cancelled"] == 1, what="the cancellation")
        assert c.response().status == 503


def test_giving_up_as_asked_is_no_failure(s):
    notes, before = Notes(s), errors(s, "handler_failed")
    with s.connect() as c:
        send_get(c, "/pool/gate?heed=1")
        wait_until(lambda: notes["gate_reached"] == 1, what="the handler")
        c.shutdown()
        assert c.response().status == 503
    assert errors(s, "handler_failed") == before


def test_a_client_that_leaves_before_a_thread_answers(s):
    notes = Notes(s)
    for how in ("reset", "close"):
        with s.connect() as c:
            send_get(c, "/async/thread?gate=1&twice=1")
            wait_until(lambda: notes["gate_reached"] >= 1, what="the thread")
            getattr(c, how)()
        s.get("/gate/open")
        wait_until(lambda: notes["told_twice"] and notes["released"], what="its answers")
        notes = Notes(s)
    assert s.get("/who").status == 200


def test_a_completion_while_a_thread_posts(s):
    """What was posted for a call that has ended meanwhile is for nobody."""
    notes = Notes(s)
    for how in ["shutdown"] * 40 + ["reset"] * 20:
        with s.connect() as c:
            send_get(c, "/async/busy")
            getattr(c, how)()
            if how == "shutdown":
                assert c.response().body == b"cancelled"
    wait_until(lambda: notes["busy_cancelled"] == 60, what="all cancellations")
    with s.connect() as c: # calls are used again after 64 others
        for _ in range(200):
            assert c.get("/async/answer?how=json").json() == {"a": 1}
    with contextlib.ExitStack() as stack: # each by one request only
        many = [stack.enter_context(s.connect()) for _ in range(20)]
        for c in many:
            send_get(c, "/async/hold?ms=200")
        assert [c.response().body for c in many] == [b"async"] * 20
    assert s.status()["exits"] == []


# ---- the queue ----


def test_a_full_queue(narrow):
    s, notes, before = narrow, Notes(narrow), errors(narrow, "queue_full")
    with s.connect() as c1, s.connect() as c2:
        send_get(c1, "/pool/gate")
        wait_until(lambda: notes["pool_began"] == 1, what="the first")
        send_get(c2, "/pool/gate")
        wait_until(lambda: len(rows(s, "/pool/gate")) == 2, what="the second")
        r = s.get("/pool/answer")
        assert (r.status, r.header("retry-after")) == (503, "1")
        assert s.get("/inline/answer").status == 200
        wait_until(lambda: sorted(rows(s, "/pool/gate")) == ["queued", "running"], what="the rows")
        s.get("/gate/open?n=2")
        assert c1.response().status == c2.response().status == 200
    assert errors(s, "queue_full", "/pool/answer") == 1
    assert errors(s, "queue_full") - before == 1
    assert s.get("/pool/answer").status == 200


def test_one_that_waits_and_leaves_never_runs(narrow):
    s, notes = narrow, Notes(narrow)
    with s.connect() as c1, s.connect() as c2:
        send_get(c1, "/pool/gate")
        wait_until(lambda: notes["pool_began"] == 1, what="the first")
        send_get(c2, "/pool/gate")
        wait_until(lambda: len(rows(s, "/pool/gate")) == 2, what="the second")
        c2.reset()
        wait_until(lambda: len(rows(s, "/pool/gate")) == 1, what="its end")
        s.get("/gate/open")
        assert c1.response().status == 200
    assert s.get("/pool/answer").status == 200
    assert notes["pool_began"] == 1


@pytest.mark.parametrize("before", [0, 5])
def test_a_brisk_handler_that_blocks_holds_nobody(s, before):
    """Of handlers that were brisk so far few threads are woken, and those tell the loop late. When
    one of them blocks, neither who was answered before it nor who waits behind it may notice; that
    the loop is woken by something else now and then is not good enough."""
    (pid,), took = s.worker_pids(), []
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(s.connect()) for _ in range(10)]
        gated = [stack.enter_context(s.connect()) for _ in range(3)] # of 4 threads
        for _ in range(7):
            for c in others * 5:
                assert c.get("/pool/answer").status == 200
            os.kill(pid, signal.SIGSTOP) # they come in one turn of the loop
            try:
                for c in others[:before]:
                    send_get(c, "/pool/answer")
                for c in gated:
                    send_get(c, "/pool/gate")
                for c in others[before:]:
                    send_get(c, "/pool/answer")
            finally:
                begin = time.monotonic()
                os.kill(pid, signal.SIGCONT)
            for c in others:
                assert c.response().status == 200
            took.append(time.monotonic() - begin)
            assert len(rows(s, "/pool/gate")) == 3
            s.get("/gate/open?n=3")
            for c in gated:
                assert c.response().body == b"pool"
    assert sorted(took)[3] < 0.15, took


# ---- who holds the loop; the end ----


def test_a_handler_that_holds_the_loop_is_told_by_name(s):
    before = errors(s, "loop_held", "/inline/slow")
    s.get("/inline/slow?ms=200")
    s.wait_log("handler /inline/slow of probe held the loop for")
    assert errors(s, "loop_held", "/inline/slow") - before == 1


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP])
def test_handlers_may_end_before_a_worker_does(sig):
    with probe() as s:
        notes = Notes(s)
        with s.connect() as c, s.connect() as d:
            send_get(c, "/pool/slow?ms=700")
            send_get(d, "/async/hold?ms=700")
            wait_until(lambda: notes["slow_began"] and notes["async_began"], what="handlers")
            s.kill(sig)
            r = c.response()
            assert (r.body, r.header("connection")) == (b"slow", "close")
            assert d.response().body == b"async"
        # Its hook is called once it has nothing to do any more.
        s.wait_log("probe: stop in slot 1")
        if sig == signal.SIGTERM:
            assert s.wait_exit() == 0
