# SPDX-License-Identifier: MIT
"""MAX_REQUESTS: workers are replaced, and nobody notices."""
from lib import wait_until
from load import Load


def test_no_request_is_lost_while_workers_are_replaced(serve):
    s = serve("builtin:hello", workers=3, env={"MAX_REQUESTS": 40, "MAX_REQUESTS_JITTER": 5})
    with Load(s) as load:
        wait_until(lambda: len(s.log_lines("recycled after MAX_REQUESTS")) >= 6, 60,
                   "six replacements")
    assert load.failed == []
    st = wait_until(lambda: (lambda st: st if len(st["workers"]) == 3 else None)(s.status()),
                    what="three workers")
    assert st["totals"]["requests"] == load.ok
    gone = [e for e in st["exits"] if e["reason"] == "max_requests"]
    assert len(gone) >= 6
    assert all(e["reason"] == "max_requests" for e in st["exits"])
    # They had their requests; the overshoot is what came until the replacement was ready.
    assert all(e["requests"] >= 35 for e in gone)
    assert s.metrics().sum("capricorn_worker_restarts_total", reason="max_requests") >= 6


def test_replacement_is_there_first_and_one_at_a_time(serve):
    s = serve("builtin:hello", workers=3, env={"MAX_REQUESTS": 30, "MAX_REQUESTS_JITTER": 0})
    most, fewest = 0, 99
    with Load(s, threads=2):
        while len(s.log_lines("recycled after MAX_REQUESTS")) < 4:
            states = [w["state"] for w in s.status()["workers"]]
            most = max(most, len(states))
            fewest = min(fewest, states.count("ready"))
    assert most <= 4
    assert fewest >= 3


def test_min_worker_lifetime(serve):
    s = serve("builtin:hello", workers=1,
              env={"MAX_REQUESTS": 5, "MAX_REQUESTS_JITTER": 0, "MIN_WORKER_LIFETIME": "60s"})
    pids = s.worker_pids()
    for _ in range(50):
        assert s.get("/").status == 200
    assert s.worker_pids() == pids


def test_zero_means_never(serve):
    s = serve("builtin:hello", workers=1, env={"MAX_REQUESTS": 0})
    pids = s.worker_pids()
    for _ in range(100):
        assert s.get("/").status == 200
    assert s.worker_pids() == pids
