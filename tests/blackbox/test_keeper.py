# SPDX-License-Identifier: MIT
"""The keeper: STATUS_BIND while every worker hangs, its own death, the master's, its idleness."""
import os
import signal
import time

import pytest

import lib
from lib import RawClient, wait_until


def status_address(s):
    m = s.wait_log(r"[Ss]tatus\D* at: http://127\.0\.0\.1:(\d+)")
    return ("127.0.0.1", int(m.group(1)))


def get(address, path, **kw):
    with RawClient(address, timeout=5) as c:
        return c.request("GET", path, close=True, **kw)


def test_answers_while_every_worker_is_stopped(serve):
    s = serve(workers=2, env={"STATUS_BIND": "127.0.0.1:0", "WORKER_TIMEOUT": "60s"})
    at = status_address(s)
    assert get(at, "/status").json()["keeper"]["pid"] == s.keeper_pid()
    pids = s.worker_pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(5):
            st = get(at, "/status").json()
            assert sorted(w["pid"] for w in st["workers"]) == sorted(pids)
            assert get(at, "/metrics").status == 200
        doc = wait_until(lambda: (r := get(at, "/health")).status == 503 and r.json(), 20,
                         "unhealthy")
        assert doc["status"] == "unhealthy"
        assert get(at, "/livez").status == 200
        assert get(at, "/readyz").status == 503
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: get(at, "/health").json()["status"] == "healthy", 10, "healthy")


def test_status_listener_paths(serve):
    s = serve("builtin:hello", workers=1, env={"STATUS_BIND": "127.0.0.1:0"})
    at = status_address(s)
    with RawClient(at) as c:
        for path, status in (("/livez", 200), ("/status", 200), ("/", 404), ("/echo", 404),
                             ("/_capricorn/status", 404), ("/dashboard", 501)):
            assert c.get(path).status == status, path
        assert c.request("POST", "/status").status == 405
    before = s.status()["totals"]
    get(at, "/status")
    after = s.status()["totals"]
    assert after["requests"] == before["requests"]
    assert after["status_requests"] - before["status_requests"] == 2


def test_more_clients_than_it_takes(serve):
    s = serve(workers=1, env={"STATUS_BIND": "127.0.0.1:0"})
    at = status_address(s)
    idle = [RawClient(at) for _ in range(150)]
    try:
        assert get(at, "/livez").status == 200
    finally:
        for c in idle:
            c.close()
    assert get(at, "/livez").status == 200


def test_a_killed_keeper_is_replaced(serve):
    s = serve(workers=1, env={"STATUS_BIND": "127.0.0.1:0"})
    at = status_address(s)
    for _ in range(2):
        pid = s.keeper_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda p=pid: (s.status()["keeper"] or {}).get("pid", p) != p, 10,
                   "a new keeper")
        wait_until(lambda: s.status()["keeper"]["state"] == "ready", 10, "readiness")
        assert get(at, "/status").status == 200
    reasons = [(e["kind"], e["signal"]) for e in s.status()["exits"]]
    assert reasons.count(("keeper", "SIGKILL")) == 2


def test_term_to_the_keeper_is_not_for_it(server):
    pid = server.keeper_pid()
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH):
        os.kill(pid, sig)
    beat = server.status()["keeper"]["heartbeat_age_ms"]
    wait_until(lambda: server.status()["keeper"]["heartbeat_age_ms"] < max(beat, 700), 5, "a beat")
    assert server.keeper_pid() == pid


def test_the_master_is_killed(serve):
    s = serve(workers=2, env={"STATUS_BIND": "127.0.0.1:0", "GRACEFUL_TIMEOUT": "5s"})
    at = status_address(s)
    pids = [*s.worker_pids(), s.keeper_pid()]
    os.kill(s.pid, signal.SIGKILL)
    s.process.wait()
    wait_until(lambda: not any(map(lib.alive, pids)), 15, "the end of all processes")
    with pytest.raises(ConnectionRefusedError):
        RawClient(at, timeout=1)
    for name in s.shm_files():
        os.unlink("/dev/shm/" + name)
    s.returncode = -9


def wakeups(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("voluntary_ctxt_switches"):
                return int(line.split()[1])
    return 0


def test_an_idle_keeper_hardly_wakes(serve):
    s = serve(workers=1)
    pid = s.keeper_pid()
    time.sleep(1)  # what came before settles
    before, start = wakeups(pid), time.monotonic()
    time.sleep(4)
    rate = (wakeups(pid) - before) / (time.monotonic() - start)
    assert rate <= 2.0
