# SPDX-License-Identifier: MIT
"""Connections are spread evenly, and none waits for a process that cannot run."""
import os
import signal
import threading
import time

from lib import PATIENCE, wait_until


def counts(server):
    return {w["pid"]: w["connections"] for w in server.status()["workers"]
            if w["state"] == "ready"}


def open_connections(server, n):
    clients = []
    for _ in range(n):
        c = server.connect()
        assert c.get("/").status == 200
        clients.append(c)
    return clients


def even(server, total, workers):
    mean = total / workers
    got = counts(server)  # the request for /status is itself one connection
    return len(got) == workers and all(abs(n - mean) <= mean * 0.25 + 1 for n in got.values())


def close_all(clients):
    for c in clients:
        c.close()


def rescues(server):
    return server.metrics().sum("capricorn_accept_rescues_total")


def spread_evenly(server, workers, make):
    """Opens 64 connections by make(): they are even. A worker that the system does not run for
    40 ms loses its turn to its siblings, rightly, and nothing is moved later: only a go in which
    that is known to have happened says nothing, and is repeated."""
    def once():
        before = rescues(server)
        clients = make()
        try:
            assert len(clients) == 64
            if even(server, 64, workers):
                return True
            assert rescues(server) > before, counts(server)
            return False
        finally:
            close_all(clients)
            wait_until(lambda: sum(counts(server).values()) <= 1, 10, "all closed")
    wait_until(once, 10, "64 connections spread evenly")


def test_64_connections_on_4_workers(serve):
    s = serve("builtin:hello", workers=4)
    spread_evenly(s, 4, lambda: open_connections(s, 64))


def test_a_burst_is_spread_too(serve):
    s = serve("builtin:hello", workers=4)

    def burst():
        clients = [s.connect() for _ in range(64)]
        for c in clients:
            c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        for c in clients:
            assert c.response().status == 200
        return clients
    spread_evenly(s, 4, burst)


def test_the_spread_recovers_after_a_worker_is_replaced(serve):
    s = serve("builtin:hello", workers=4)

    def replace():
        clients = open_connections(s, 64)
        victim = max(counts(s).items(), key=lambda kv: kv[1])[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(counts(s)) == 4 and victim not in counts(s), 10, "the replacement")
        alive = []
        for c in clients:
            try:
                assert c.get("/").status == 200
                alive.append(c)
            except (EOFError, OSError):
                c.close()
        assert 64 - len(alive) >= 16, "the victim held its share"
        return alive + open_connections(s, 64 - len(alive))
    spread_evenly(s, 4, replace)


def test_no_connection_waits_for_a_stopped_worker(serve):
    s = serve("builtin:hello", workers=4, env={"WORKER_TIMEOUT": "60s"})
    clients = open_connections(s, 40)
    by_count = sorted(counts(s).items(), key=lambda kv: kv[1])
    stopped = by_count[0][0]
    # the stopped worker has the fewest: the scoreboard says that it should take the next ones
    for c in clients[:]:
        if len(clients) > 30:
            clients.remove(c)
            c.close()
    os.kill(stopped, signal.SIGSTOP)
    try:
        worst = 0.0
        for _ in range(60):
            t0 = time.monotonic()
            c = s.connect()
            assert c.get("/").status == 200
            worst = max(worst, time.monotonic() - t0)
            clients.append(c)
        assert worst < 0.1 * PATIENCE, worst
    finally:
        os.kill(stopped, signal.SIGCONT)
    close_all(clients)


def test_a_single_worker_that_can_run_takes_everything(serve):
    """Two of three stopped while they are below their share: the third serves alone."""
    s = serve("builtin:hello", workers=3, env={"WORKER_TIMEOUT": "60s"})
    pids = s.worker_pids()
    for pid in pids[:2]:
        os.kill(pid, signal.SIGSTOP)
    clients = []
    try:
        for _ in range(40):
            t0 = time.monotonic()
            c = s.connect()
            assert c.get("/").status == 200
            assert time.monotonic() - t0 < 0.1 * PATIENCE
            clients.append(c)
    finally:
        for pid in pids[:2]:
            os.kill(pid, signal.SIGCONT)
    close_all(clients)


def test_an_idle_server_hardly_wakes(serve):
    s = serve("builtin:hello", workers=2)
    pids = [s.pid, s.keeper_pid(), *s.worker_pids()]

    def switches():
        out = {}
        for pid in pids:
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                out[pid] = int(next(ln for ln in f if ln.startswith("voluntary")).split()[1])
        return out
    time.sleep(1)
    before, t0 = switches(), time.monotonic()
    time.sleep(5)
    after, seconds = switches(), time.monotonic() - t0
    for pid in pids:
        assert (after[pid] - before[pid]) / seconds <= 2.0, (pid, before, after)


def test_no_one_spins_over_a_connection_that_is_another_s(serve):
    """Turns of the loops per request, while connections come and go and counts go up and down."""
    s = serve("builtin:hello", workers=4, env={"MAX_REQUESTS": "0"})
    stop = time.monotonic() + 2
    done = [0] * 16

    def client(i):
        while time.monotonic() < stop:
            assert s.get("/").status == 200
            done[i] += 1
    threads = [threading.Thread(target=client, args=(i,)) for i in range(len(done))]
    before = s.metrics().sum("capricorn_loop_turns_total")
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    turns = s.metrics().sum("capricorn_loop_turns_total") - before
    assert turns / sum(done) < 6, (turns, sum(done))
