# SPDX-License-Identifier: MIT
"""More than there is room for: slow attackers, no descriptors left, storms."""
import os
import resource
import shutil
import subprocess
import threading
import time

import pytest

from lib import PATIENCE, wait_until

HEADER_TIMEOUT = 10

slowhttptest = pytest.mark.skipif(not shutil.which("slowhttptest"),
                                  reason="slowhttptest is not installed")


def worst_answer(server, path, seconds):
    """The longest time that a new client waited for a whole answer."""
    worst, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        t0 = time.monotonic()
        r = server.get(path, timeout=HEADER_TIMEOUT * 2)
        assert r.status == 200
        worst = max(worst, time.monotonic() - t0)
        time.sleep(0.2)
    return worst


@slowhttptest
@pytest.mark.slow
@pytest.mark.parametrize("attack", [
    ["-H", "-i", "5"],                                   # heads that never end (slowloris)
    ["-B", "-i", "5", "-s", "8192"],                     # bodies that drip
    ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],  # readers that do not read
], ids=["slow-heads", "slow-bodies", "slow-readers"])
def test_more_attackers_than_connections(serve, attack):
    """A new client is answered within HEADER_TIMEOUT."""
    s = serve("builtin:echo", workers=2, env={"WORKER_CONNECTIONS": "200"})
    path = "/?bytes=1000000" if attack[0] == "-X" else "/"
    with subprocess.Popen(["slowhttptest", "-c", "1000", "-r", "500", "-l", "25", *attack,
                           "-u", s.url + path], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        try:
            time.sleep(3)    # until they are all there; the server may already be full before
            assert worst_answer(s, "/", 20) < HEADER_TIMEOUT
        finally:
            p.kill()
    wait_until(lambda: sum(w["connections"] for w in s.status()["workers"]) <= 2, 30,
               "the end of the attackers' connections")


def test_slow_heads_in_short(serve):
    """The same with fewer, in the normal run."""
    s = serve("builtin:hello", workers=2, env={"WORKER_CONNECTIONS": "30"})
    attackers = []
    try:
        for _ in range(150):
            c = s.connect()
            c.send(b"GET / HTTP/1.1\r\nX-a: 1\r\n")
            attackers.append(c)
        assert worst_answer(s, "/", 1) < 5 * PATIENCE
    finally:
        for c in attackers:
            c.close()


def test_slow_bodies_in_short(serve):
    s = serve("builtin:echo", workers=2, env={"WORKER_CONNECTIONS": "30"})
    attackers = []
    try:
        for _ in range(100):
            c = s.connect()
            c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx")
            attackers.append(c)
        assert worst_answer(s, "/", 3) < 5 * PATIENCE
    finally:
        for c in attackers:
            c.close()


def test_no_descriptors_left(serve):
    """EMFILE: connections wait, nothing spins, and all is well when there are some again."""
    s = serve("builtin:hello", workers=1, env={"MAX_REQUESTS": "0"})
    pid = s.worker_pids()[0]
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{pid}/fd"))
    highest = max(int(n) for n in os.listdir(f"/proc/{pid}/fd"))
    assert used
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
    clients = []
    try:
        for _ in range(used + 20):
            c = s.connect()
            c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            clients.append(c)
        s.wait_log("cannot accept connections", 10)
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            before = sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
        time.sleep(1)
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            ticks = sum(map(int, f.read().rpartition(")")[2].split()[11:13])) - before
        assert ticks < 20 * PATIENCE, "it spins"
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    for c in clients:
        assert c.response().status == 200
        c.close()
    assert len(s.log_lines("cannot accept connections")) <= 10 * PATIENCE


def test_a_storm_of_connections(serve):
    """Twice as many clients as there are places, all at once: each gets its answer."""
    s = serve("builtin:hello", workers=2, env={"WORKER_CONNECTIONS": "64"})
    failures = []

    def client():
        try:
            for _ in range(20):
                if s.get("/", timeout=20).status != 200:
                    failures.append("status")
        except (OSError, EOFError) as e:
            failures.append(repr(e))
    threads = [threading.Thread(target=client) for _ in range(256)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[:3]
