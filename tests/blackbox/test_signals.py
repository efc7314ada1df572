# SPDX-License-Identifier: MIT
"""Signals to the real server. Each signal in each phase: tests/unit/test_master_signals.c."""
import os
import random
import signal
import time

import pytest

import lib
from lib import alive, wait_until
from load import Load


def begin_upload(s):
    """A request that is under way until the rest of its body is sent: 'cd'."""
    c = s.connect()
    c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")

    def seen():
        return any(w["request"] and w["request"]["path"] == "/echo"
                   for w in s.status()["workers"]) or None
    try:
        wait_until(lambda: seen() or sum(w["in_flight"] for w in s.status()["workers"]) > 1,
                   what="the request in /status")
    except BaseException:
        c.close()
        raise
    return c


def refused(s):
    """Has the last process closed the listener?"""
    try:
        s.connect().close()
    except ConnectionError:
        return True
    return False


def test_term_finishes_requests(serve):
    s = serve("builtin:api")
    with begin_upload(s) as c:
        s.kill(signal.SIGTERM)
        s.wait_log("Handling signal: TERM")
        assert s.process.poll() is None
        wait_until(lambda: refused(s), what="every worker to have heard of it")
        c.send("cd")
        r = c.response("POST")
        assert r.body == b"abcd"
        assert r.header("connection") == "close"
    assert s.wait_exit() == 0


def test_term_to_the_group_is_one_graceful_stop(serve):
    s = serve("builtin:api")
    with begin_upload(s) as c:
        os.killpg(s.pid, signal.SIGTERM)
        s.wait_log("Handling signal: TERM")
        c.send("cd")
        assert c.response("POST").body == b"abcd"
    assert s.wait_exit() == 0
    assert len(s.log_lines("Booting worker")) == 2


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGQUIT])
def test_quick_stop(serve, sig):
    s = serve("builtin:api")
    with begin_upload(s):
        begun = time.monotonic()
        os.killpg(s.pid, sig)  # as Ctrl-C does
        assert s.wait_exit() == 0
        assert time.monotonic() - begun < 4 * lib.PATIENCE


def test_second_term_cuts_it_short(serve):
    s = serve("builtin:api", env={"GRACEFUL_TIMEOUT": "60s"})
    with begin_upload(s):
        s.kill(signal.SIGTERM)
        s.wait_log(r"Handling signal: TERM \(phase run: stop\)")
        s.kill(signal.SIGTERM)
        s.wait_log(r"Handling signal: TERM \(phase stop: quit\)")
        assert s.wait_exit(10) == 0


def test_graceful_timeout(serve):
    s = serve("builtin:api", env={"GRACEFUL_TIMEOUT": "1s"})
    with begin_upload(s):
        begun = time.monotonic()
        s.kill(signal.SIGTERM)
        assert s.wait_exit(10) == 0
        assert 0.9 < time.monotonic() - begun < 5 * lib.PATIENCE


def test_children_ignore_what_is_the_masters(serve):
    s = serve("builtin:api")
    pids = sorted([*s.worker_pids(), s.keeper_pid()])
    for sig in ("INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "WINCH"):
        for pid in pids:
            s.kill(getattr(signal, "SIG" + sig), pid)
    for _ in range(20):
        assert s.get("/").status == 200
    assert sorted([*s.worker_pids(), s.keeper_pid()]) == pids


def test_term_to_one_worker_drains_and_replaces_it(serve):
    s = serve("builtin:api", workers=2)
    victim = s.worker_pids()[0]
    s.kill(signal.SIGTERM, victim)
    wait_until(lambda: not alive(victim), what="the end of the worker")
    wait_until(lambda: len(s.worker_pids()) == 2, what="two workers")
    assert victim not in s.worker_pids()
    exits = s.status()["exits"]
    assert exits[0]["pid"] == victim and exits[0]["reason"] == "terminated"
    assert not s.log_lines("ERROR")


def test_ttin_and_ttou(serve):
    s = serve("builtin:api", workers=2, env={"WORKERS_MIN": 1, "WORKERS_MAX": 3})
    s.kill(signal.SIGTTIN)
    wait_until(lambda: len(s.worker_pids()) == 3, what="three workers")
    s.kill(signal.SIGTTIN)
    s.wait_log("3 workers already: WORKERS_MAX is 3")
    oldest = [w["pid"] for w in s.status()["workers"] if w["slot"] in (1, 2)]
    for n in (2, 1):
        s.kill(signal.SIGTTOU)
        wait_until(lambda n=n: len(s.status()["workers"]) == n, what=f"{n} workers")
    assert not any(alive(p) for p in oldest)
    s.kill(signal.SIGTTOU)
    s.wait_log("1 workers already: WORKERS_MIN is 1")
    assert s.get("/").status == 200


def test_winch(serve):
    s = serve("builtin:api", env={"WINCH_DRAINS": "true"})
    s.kill(signal.SIGWINCH)
    wait_until(lambda: len(lib.children(s.pid)) == 1, what="the keeper alone")
    # Who connects now waits, and is served when the workers are back.
    with s.connect(timeout=20) as c:
        c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        s.kill(signal.SIGTTIN)
        assert c.response().status == 200
    s.kill(signal.SIGWINCH)
    wait_until(lambda: len(lib.children(s.pid)) == 1, what="the keeper alone")
    s.kill(signal.SIGHUP)
    s.wait_log("Reload finished")
    assert s.get("/").status == 200


def test_winch_means_nothing_unless_asked_for(serve):
    s = serve("builtin:api")
    pids = s.worker_pids()
    s.kill(signal.SIGWINCH)
    s.kill(signal.SIGUSR2)
    s.wait_log("USR2.*not built yet")
    assert s.worker_pids() == pids


def test_usr1_reopens_the_logs(serve):
    s = serve("builtin:hello", "--error-log", "err.log", "--access-log", "acc.log", wait=False)
    err, acc = (os.path.join(s.tmp, n) for n in ("err.log", "acc.log"))

    def text(path):
        try:
            with open(path, encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return ""
    wait_until(lambda: "Ready: " in text(err), what="the start in err.log")
    url = lib.re.search(r"Listening at: (\S+)", text(err)).group(1)
    address = lib.parse_url(url)

    def ask(path):
        with lib.RawClient(address) as c:
            assert c.request("GET", path, close=True).status == 200
    ask("/before")
    wait_until(lambda: "/before" in text(acc), what="the first line")
    for path in (err, acc):
        os.rename(path, path + ".1")
    s.kill(signal.SIGUSR1)
    wait_until(lambda: "Log files are open again" in text(err), what="the new error log")

    def taken_over():  # the keeper has been given the new file, and may have lines in hand
        ask("/soon")
        return "/soon" in text(acc)
    wait_until(taken_over, what="the new access log")
    ask("/after")
    wait_until(lambda: "/after" in text(acc), what="a line in the new access log")
    assert "/after" not in text(acc + ".1")
    s.stop()
    assert "Shutting down" in text(err)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_any_mix_of_signals_and_deaths(serve, seed):
    """Whatever comes in whatever order: in the end it serves, and stops in good order."""
    rng = random.Random(seed)
    s = serve("builtin:hello", workers=3,
              env={"WORKERS_MIN": 1, "WORKERS_MAX": 6, "WINCH_DRAINS": "true", "MAX_REQUESTS": 200,
                   "GRACEFUL_TIMEOUT": "2s", "WORKER_TIMEOUT": "2s"})
    mild = [signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGUSR1,
            signal.SIGUSR2]
    with Load(s, threads=2):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pids = lib.children(s.pid)
            if pids and rng.random() < 0.2:
                try:
                    s.kill(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP]),
                           rng.choice(pids))
                except ProcessLookupError:
                    pass
            else:
                s.kill(rng.choice(mild))
            time.sleep(rng.random() * 0.1)
    s.kill(signal.SIGHUP)  # brings the workers back if the last one was WINCH

    def calm():
        try:
            st = s.status()
        except (OSError, EOFError, AssertionError):
            return False
        return st["master"]["state"] == "running" and st["keeper"] and \
            all(w["state"] == "ready" for w in st["workers"]) and \
            len(st["workers"]) == st["master"]["workers_wanted"] > 0
    wait_until(calm, 60, lambda: "calm:\n" + s.log()[-4000:])
    assert s.get("/").status == 200
    assert s.stop() == 0
