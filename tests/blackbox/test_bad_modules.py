# SPDX-License-Identifier: MIT
"""Modules that misbehave (tests/modules/bad.c): each misdeed has an outcome that is written down in
app/README.md, and nobody else's request pays for it."""
import json
import os
import random
import re
import signal
import threading
import time

import pytest

import lib
from lib import RawClient, alive, wait_until
from modules import module

HOW = ("inline", "pool")


class Echoes:
    """Clients that ask for answers of which no two are the same, inline and in the pool. `wrong`
    are answers that were somebody else's, `failed` those that did not come."""

    def __init__(self, server, threads=3, how=HOW, pause=0.002):
        self.address = server.address
        self.how = how
        self.pause = pause
        self.ok = 0
        self.wrong = []
        self.failed = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(threads)]

    def _run(self, number):
        n = 0
        while not self._stop.is_set():
            n += 1
            text = f"{number}-{n}"
            path = f"/{self.how[n % len(self.how)]}/echo/{text}"
            try:
                with RawClient(self.address, timeout=10) as c:
                    r = c.request("GET", path, close=True)
            except (OSError, EOFError, AssertionError) as e:
                with self._lock:
                    self.failed.append((path, repr(e)))
                continue
            with self._lock:
                if r.status != 200:
                    self.failed.append((path, r))
                elif r.body != text.encode():
                    self.wrong.append((path, r.body))
                else:
                    self.ok += 1
            time.sleep(self.pause)

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        for t in self._threads:
            t.join()
        if exc[0] is None:
            assert not self.wrong, self.wrong[:5]

    def some_more(self, n=10):
        """Waits until so many more have been answered."""
        want = self.ok + n
        wait_until(lambda: self.ok >= want, 20, lambda: f"answers; failed: {self.failed[-3:]}")


def bad(serve, *args, workers=2, env=None, **kw):
    s = serve(*args, module("bad"), workers=workers, env=env, **kw)
    s.expect_crash()
    return s


def ask(s, path, **kw):
    """The answer; None when the connection ends without one."""
    try:
        return s.get(path, **kw)
    except (OSError, EOFError):
        return None


def look(s):
    try:
        return s.status()
    except (OSError, EOFError, AssertionError, ValueError):
        return None


def wait_workers(s, n=2, seconds=15):
    def there():
        st = look(s)
        return st and sum(w["state"] == "ready" for w in st["workers"]) == n and st
    return wait_until(there, seconds, lambda: f"{n} workers:\n{s.log()[-3000:]}")


def wait_exit_of(s, pid, seconds=15):
    """The record of that process's end."""
    return wait_until(lambda: next((e for e in (look(s) or {"exits": []})["exits"]
                                    if e["pid"] == pid), None), seconds,
                      lambda: f"the end of {pid}:\n{s.log()[-3000:]}")


def errors(s, kind):
    return s.metrics().sum("capricorn_errors_total", type=kind)


def new_exits(s, before):
    return [e for e in s.status()["exits"] if e["pid"] not in before]


# ---- 1: loops for ever inline ----


def test_spins_in_the_loop(serve):
    s = bad(serve, env={"WORKER_TIMEOUT": "1s", "SLOW_REQUEST_THRESHOLD": "20s"})
    with s.connect() as c, Echoes(s, how=("inline",)) as others:
        c.send("GET /inline/spin HTTP/1.1\r\nHost: a\r\nX-Request-Id: my-spin\r\n\r\n")
        m = s.wait_log(r"\[CRITICAL\] WORKER TIMEOUT \(pid:(\d+)\) slot=\d+ no_progress=\S+ "
                       r"process=[RS] wchan=\S+ request=my-spin method=GET path=/inline/spin "
                       r"client=127\.0\.0\.1\S* age=\S+s state=\w+")
        pid = int(m.group(1))
        others.some_more()
        s.wait_log(rf"\(pid:{pid}\) #\d+ spin_forever\+0x[0-9a-f]+ \(bad\.so\)")
        s.wait_log(rf"Worker \(pid:{pid}\) was .*/inline/spin \(id my-spin")
        assert c.is_closed()
        wait_workers(s)
        others.some_more()
    # Who waited in the queue of the stuck one is the only one that may have been lost.
    assert len(others.failed) <= 3, others.failed
    lines = s.log().splitlines()
    assert len([x for x in lines if "WORKER TIMEOUT" in x]) == 1
    order = [next(i for i, x in enumerate(lines) if re.search(p, x)) for p in
             ("WORKER TIMEOUT", r"spin_forever", rf"Worker \(pid:{pid}\) was")]
    assert order == sorted(order)
    e = wait_exit_of(s, pid)
    assert e["reason"] == "timeout"
    assert "my-spin" in json.dumps(e) and "/inline/spin" in json.dumps(e)


def test_holds_the_loop(serve):
    s = bad(serve, env={"SLOW_REQUEST_THRESHOLD": "300ms"})
    before = s.worker_pids()
    assert s.get("/inline/hold?ms=1200").body == b"survived"
    s.wait_log(r"\[WARNING\] SLOW \(pid:\d+\) slot=\d+ held=\S+ .*path=/inline/hold")
    s.wait_log(r"\(pid:\d+\) #\d+ spin_for\+0x[0-9a-f]+ \(bad\.so\)")
    s.wait_log(r"handler bad inline of bad held the loop for 1\d\d\d ms")
    assert errors(s, "loop_held") == 1
    assert s.metrics().sum("capricorn_errors_total", type="loop_held", route="bad inline") == 1
    assert "slow_request" in [e["kind"] for e in s.status()["events"]]
    assert len(s.log_lines(r"SLOW \(pid")) == 1
    assert s.worker_pids() == before


# ---- 2 and 3: calls that do not end, all at once since they take 5 s to be believed ----


def test_never_ends(serve):
    """In the pool, pending for ever, and pending with a thread that says that it works on it."""
    s = bad(serve, workers=1, env={"REQUEST_TIMEOUT": "1s", "SLOW_REQUEST_THRESHOLD": "20s",
                                   "GRACEFUL_TIMEOUT": "20s"})
    before = set(s.worker_pids())
    # All in one worker, which can give their stacks one by one only.
    paths = ["/pool/block", "/pool/block?2", "/async/never-cancel", "/async/never-thread"]
    answers = {}

    def client(path):
        answers[path] = ask(s, path, timeout=20)
    threads = [threading.Thread(target=client, args=(p,)) for p in paths]
    with Echoes(s) as others:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert {p: a and a.status for p, a in answers.items()} == {p: 504 for p in paths}

        def abandoned():
            r = s.get(s.prefix + "/api/v1/performance/active-requests").json()
            rows = r["requests"]
            return sorted(x["path"] for x in rows if x["state"] == "abandoned") == \
                sorted(p.split("?")[0] for p in paths)
        wait_until(abandoned, what="their rows")
        begun = time.monotonic()
        s.wait_log("STUCK", 15, count=len(paths))
        assert time.monotonic() - begun > 3
        stuck = [re.search(r"\(pid:(\d+)\) slot=\d+ thread=(\d+) running=[56].*path=(\S+)", x)
                 .groups() for x in s.log_lines("STUCK")]
        pids = {int(pid) for pid, _, _ in stuck}
        assert sorted(path for _, _, path in stuck) == sorted(p.split("?")[0] for p in paths)
        assert [thread == "0" for _, thread, _ in stuck] == \
            [path == "/async/never-cancel" for _, _, path in stuck]
        s.wait_log(r"\(pid:\d+\) #\d+ block_forever\+0x[0-9a-f]+ \(bad\.so\)", count=2)
        s.wait_log(r"\(pid:\d+\) #\d+ work_forever\+0x[0-9a-f]+ \(bad\.so\)")
        s.wait_log(r"\(pid:\d+\) no stack: no thread has said")
        # They leave although their threads do not end; the replacement was there first.
        for pid in pids:
            e = wait_exit_of(s, pid, 20)
            assert (e["reason"], e["signal"], e["code"]) == ("stuck", None, 0), e
        wait_until(lambda: not any(alive(p) for p in pids), what="their end")
        wait_workers(s, 1)
        others.some_more(50)
    assert others.failed == []
    assert pids == before
    assert len(s.log_lines("STUCK")) == 4
    assert len(s.log_lines(": cancelled|cancelled$")) == 2  # each call-back once
    m = s.metrics()
    assert m.sum("capricorn_errors_total", type="abandoned") == 4
    assert m.sum("capricorn_worker_restarts_total", reason="stuck") == len(pids)


def test_slow_in_the_pool(serve):
    s = bad(serve, env={"SLOW_REQUEST_THRESHOLD": "300ms"})
    before = s.worker_pids()
    assert s.get("/pool/hold?ms=1500").body == b"survived"
    s.wait_log(r"\[WARNING\] SLOW \(pid:\d+\) slot=\d+ thread=\d+ .*path=/pool/hold")
    s.wait_log(r"\(pid:\d+\) #\d+ spin_for\+0x[0-9a-f]+ \(bad\.so\)")
    assert "slow_request" in [e["kind"] for e in s.status()["events"]]
    assert len(s.log_lines(r"SLOW \(pid")) == 1
    assert s.worker_pids() == before


# ---- 4: answers twice ----


def test_answers_twice(serve):
    s = bad(serve, workers=1)
    n = 0
    with Echoes(s, threads=2) as others:
        for _ in range(5):
            for how in ("inline", "pool", "async"):
                for deed in ("twice", "again-later"):
                    if (how, deed) == ("inline", "again-later"):
                        continue  # who keeps an inline request has nothing any more
                    assert s.get(f"/{how}/{deed}").body == b"first"
                    n += 1
        others.some_more(100)
        with s.connect() as c:  # the next ones on the same connection
            for i in range(20):
                assert c.get("/pool/twice").body == b"first"
                assert c.get(f"/inline/echo/x{i}").body == f"x{i}".encode()
                assert c.get(f"/pool/echo/y{i}").body == f"y{i}".encode()
                n += 1
    assert others.failed == []
    s.wait_log(r"(twice|late): .*-?\d+$", count=n)
    twice = [line.rsplit(" ", 1)[1] for line in s.log_lines(r"(twice|late): .*-?\d+$")]
    assert twice == ["-2"] * n
    wait_until(lambda: errors(s, "twice") == n, what="the count")
    assert len(s.log_lines("answered a request twice")) == n
    assert s.status()["exits"] == []


# ---- 5: leaks ----


@pytest.mark.slow
def test_leaks(serve):
    s = bad(serve, workers=2, env={"MAX_WORKER_MEMORY": "24m", "GRACEFUL_TIMEOUT": "10s",
                                   "MAX_REQUESTS": 0, "MIN_WORKER_LIFETIME": 0})
    time.sleep(11)  # before that nobody is replaced for it
    begin = time.monotonic()
    with Echoes(s) as others:
        while len([e for e in s.status()["exits"] if e["reason"] == "max_memory"]) < 2:
            assert time.monotonic() - begin < 60, s.log()
            st = s.status()
            assert sum(w["state"] == "ready" for w in st["workers"]) >= 2  # first comes the next
            assert len(st["workers"]) <= 3  # one at a time
            assert s.get("/pool/leak?kb=512").status == 200
            time.sleep(0.05)
    assert others.failed == []
    for line in s.log_lines("of private memory, above"):
        assert float(re.search(r"has ([\d.]+) MB", line).group(1)) < 60
    assert all(e["reason"] == "max_memory" for e in s.status()["exits"])


@pytest.mark.slow
def test_limit_below_what_every_worker_takes(serve):
    s = bad(serve, workers=2, env={"MAX_WORKER_MEMORY": "100k", "MAX_REQUESTS": 0,
                                   "MIN_WORKER_LIFETIME": 0})
    s.wait_log("a fresh worker .* already")
    time.sleep(25)
    assert len(s.status()["exits"]) <= 4
    assert len(s.log_lines("a fresh worker")) == 1


# ---- 6: ends the process ----

ENDS = [  # misdeed, reason, signal, what the log says, function
    ("abort", "crashed", "SIGABRT", None, "call_abort"),
    ("segv", "crashed", "SIGSEGV", None, "raise_segv"),
    ("null", "crashed", "SIGSEGV", "address 0x0", "read_null"),
    ("fpe", "crashed", "SIGFPE", None, "divide_by_zero"),
    ("overflow", "crashed", "SIGSEGV", "stack overflow", "overrun_stack"),
    ("exit", "exited", None, "exited with code 3", None),
    ("_exit", "exited", None, "exited with code 3", None),
]


def end_it(s, how, deed, reason, sig, text, function, alone):
    """One of ENDS. Which thread has called exit() nobody can tell from outside, so the request is
    named for certain only if the worker had no other one."""
    before = {e["pid"] for e in look(s)["exits"]} if look(s) else set()
    with s.connect() as c:
        c.send(f"GET /{how}/{deed} HTTP/1.1\r\nHost: a\r\nX-Request-Id: my-{deed}\r\n\r\n")
        assert c.is_closed(10), deed
    e = wait_until(lambda: next((e for e in (look(s) or {"exits": []})["exits"]
                                 if e["pid"] not in before), None), what="its end")
    pid = e["pid"]
    assert e["reason"] == reason, (deed, e)
    line = s.wait_log(rf"Worker \(pid:{pid}\) (was sent|exited).*$").group(0)
    if sig:
        assert f"was sent {sig}" in line
    assert not text or text in line, line
    assert re.search(rf"at GET /{how}/", line), line
    if sig or alone:
        assert f"/{how}/{deed} (id my-{deed}" in line, line
        assert f"my-{deed}" in json.dumps(e), e
    if function:
        s.wait_log(rf"\(pid:{pid}\) #\d+ {function}\+0x[0-9a-f]+ \(bad\.so\)")


@pytest.mark.parametrize("how", HOW)
def test_ends_the_process(serve, how):
    if lib.SANITIZED:
        pytest.skip("a sanitizer has the last words there")
    s = bad(serve, workers=2)
    with Echoes(s, threads=2) as others:
        for end in ENDS:
            lost = len(others.failed)
            end_it(s, how, *end, alone=how == "inline")
            others.some_more(5)
            wait_workers(s)
            # The others lose what that worker had of theirs: at most one each.
            assert len(others.failed) - lost <= 2, others.failed
    for end in ENDS:
        if end[1] == "exited":
            end_it(s, how, *end, alone=True)
            wait_workers(s)


# ---- 7: forks ----


@pytest.mark.parametrize("how", HOW)
def test_starts_processes(serve, how):
    s = bad(serve)
    with Echoes(s) as others:
        for deed in ("fork-exec", "fork-exit", "fork-exit-handlers", "system", "popen",
                     "posix-spawn"):
            assert s.get(f"/{how}/{deed}").body == b"good", deed
        others.some_more()
    assert others.failed == []
    assert s.status()["exits"] == []


@pytest.mark.parametrize("how", HOW)
def test_copy_comes_back(serve, how):
    """The child of a fork returns into the server: it ends, and answers nobody."""
    s = bad(serve, env={"KEEPALIVE_TIMEOUT": "5s"})
    workers = s.worker_pids()
    with Echoes(s) as others:
        for deed in ("fork-return", "raw-fork-return"):
            for i in range(5):
                with s.connect() as c:
                    assert c.get(f"/{how}/{deed}").body == b"survived"
                    for k in range(5):
                        assert c.get(f"/inline/echo/{deed}-{i}-{k}").body == \
                            f"{deed}-{i}-{k}".encode()
                    assert c.buf == b""
        others.some_more()
    assert others.failed == []
    s.wait_log("came back into the server's code: it ends", count=5)
    assert s.worker_pids() == workers
    wait_until(lambda: set(lib.session_members(s.pid)) == {s.pid, s.keeper_pid(), *workers},
               what="the end of the copies")
    assert s.status()["exits"] == []


@pytest.mark.parametrize("how", HOW)
def test_daemon_holds_nothing(serve, how):
    """A child that lives on has the descriptors that its worker had, but no connection of it."""
    s = bad(serve, workers=1, env={"KEEPALIVE_TIMEOUT": "1s"})
    pid = None
    try:
        with s.connect() as idle, s.connect() as leaves:
            assert idle.get("/inline/echo/a").body == b"a"
            assert leaves.get("/inline/echo/b").body == b"b"
            pid = int(s.get(f"/{how}/fork-daemon").body)
            leaves.close()
            # The server closes one, and sees the end of the other.
            assert idle.is_closed(5)
        wait_until(lambda: s.status()["workers"][0]["connections"] <= 1, what="the end of both")
        held = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
        assert not [h for h in held if h.startswith("socket:")], held
        assert s.stop() == 0
        with pytest.raises(ConnectionRefusedError):
            RawClient(s.address)
        assert alive(pid)
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)


def test_forks_at_its_start(serve):
    s = bad(serve, config="module: {start: fork-return}\n")
    s.wait_log("came back into the server's code: it ends", count=2)
    with Echoes(s) as others:
        others.some_more(50)
    assert others.failed == []
    assert set(lib.session_members(s.pid)) == {s.pid, s.keeper_pid(), *s.worker_pids()}


def test_daemon_of_its_start_holds_no_listener(serve, tmp_path):
    pids = tmp_path / "pids"
    s = bad(serve, config=f"module: {{start: fork-daemon, pids: {pids}}}\n")
    mine = [int(line) for line in pids.read_text("ascii").split()]
    try:
        assert len(mine) == 2
        assert s.get("/inline/echo/a").body == b"a"
        # A child that has not run yet since it was forked has not closed anything.
        wait_until(lambda: all(os.getsid(pid) == pid for pid in mine), what="daemons")
        for pid in mine:
            held = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
            assert not [h for h in held if h.startswith("socket:")], held
        assert s.stop() == 0
    finally:
        for pid in mine:
            os.kill(pid, signal.SIGKILL)


# ---- 8: closes what is not its own ----

CLOSES = ["close-all", "close-range", "dup-over", "replace-all"]


def cpu_seconds(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            rest = f.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("how", HOW)
def test_closes_our_descriptors(serve, how):
    s = bad(serve, workers=2, env={"WORKER_TIMEOUT": "3s"})
    with Echoes(s, threads=3) as others:
        for deed in CLOSES:
            before = {e["pid"] for e in wait_workers(s)["exits"]}
            ask(s, f"/{how}/{deed}", timeout=5)
            e = wait_until(lambda: next((e for e in (look(s) or {"exits": []})["exits"]
                                         if e["pid"] not in before), None),
                           what=lambda: f"its end after {deed}:\n{s.log()[-2000:]}")
            assert e["reason"] == "check_failed", (deed, e)
            assert "closed by the app" in e["note"] or "descriptor" in e["note"], e
            wait_workers(s)
            others.some_more()
    # Never another client's answer: Echoes asserts that.
    assert len(others.failed) <= 12 * len(CLOSES), others.failed
    assert cpu_seconds(s.pid) < 5


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow),
                                  pytest.param(3, marks=pytest.mark.slow)])
def test_closes_one_of_our_descriptors(serve, seed):
    """One by one: the worker goes on, or ends and says why; it never spins or hangs."""
    s = bad(serve, workers=2, env={"WORKER_TIMEOUT": "3s"})
    rng = random.Random(seed)
    with Echoes(s, threads=2) as others:
        for n in rng.sample(range(3, 40), 6 if seed == 1 else 37):
            ask(s, f"/{rng.choice(HOW)}/close-one?fd={n}", timeout=5)
            others.some_more(4)
        time.sleep(1.5)  # two beats: whoever lost one of the loop's has noticed
        pids = wait_workers(s)["workers"]
        spent = {w["pid"]: cpu_seconds(w["pid"]) for w in pids}
    time.sleep(0.5)
    for pid, was in spent.items():
        assert cpu_seconds(pid) - was < 0.25, f"{pid} spins"
    for e in s.status()["exits"]:
        assert e["reason"] == "check_failed" and "closed by the app" in e["note"], e


def descriptors(pid):
    """{what: [numbers]} of the descriptors of a worker."""
    listening, found = set(), {}
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as f:
        for row in list(f)[1:]:
            if row.split()[3] == "0A":
                listening.add(row.split()[9])
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            what = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        m = re.match(r"socket:\[(\d+)\]", what)
        if m:
            what = "listener" if m.group(1) in listening else "socket"
        found.setdefault(what.replace("anon_inode:", "").strip("[]"), []).append(int(name))
    return found


def test_closes_what_the_loop_needs(serve):
    """Nobody would be told of anything any more: the worker ends within a heartbeat or two."""
    s = bad(serve, workers=1)
    for what in ("eventpoll", "listener"):
        pid = s.worker_pids()[0]
        fd = max(descriptors(pid)[what])
        ask(s, f"/pool/close-one?fd={fd}", timeout=3)
        e = wait_exit_of(s, pid, 5)
        assert e["reason"] == "check_failed" and "closed by the app" in e["note"], (what, e)
        wait_workers(s, 1)
    # Commands and what threads have to say come by eventfds, which epoll forgets without a word.
    # One connection for all of it: a new one would get the number of one of them, and end it.
    pid = s.worker_pids()[0]
    with s.connect() as c:
        for fd in descriptors(pid)["eventfd"]:
            c.send(f"GET /inline/close-one?fd={fd} HTTP/1.1\r\nHost: a\r\n\r\n")
        s.wait_log("was closed by the app: of the event loop", 5, count=1)
        assert c.read_to_end()
    assert wait_exit_of(s, pid, 5)["reason"] == "check_failed"


def test_number_of_a_closed_connection_is_used_again(serve):
    """A client's connection is closed by the app, and the next client gets its number: it must not
    become the connection of both."""
    s = bad(serve, workers=1)
    pid = s.worker_pids()[0]
    before = set(descriptors(pid).get("socket", []))
    with s.connect() as a:
        assert a.get("/inline/echo/a").body == b"a"
        fd = max(set(descriptors(pid)["socket"]) - before)
        with s.connect() as c:
            assert c.get(f"/inline/close-one?fd={fd}").body == b"survived"
            with s.connect() as b:
                b.send("GET /inline/echo/b HTTP/1.1\r\nHost: a\r\n\r\n")
                e = wait_exit_of(s, pid, 5)
                assert e["reason"] == "check_failed" and "closed by the app" in e["note"], e
                assert b.is_closed()


# ---- 9: calls that are wrong ----


def results(body):
    """{call: number} of what call_wrongly() wrote."""
    return {k: int(v) for k, v in re.findall(r"^(.*) = (-?\d+)$", body.decode(), re.M)}


@pytest.mark.parametrize("how", ["inline", "pool", "async"])
def test_calls_that_are_wrong(serve, how):
    s = bad(serve, workers=1)
    r = s.get(f"/{how}/wrong-calls")
    assert r.status == 200, r
    found = results(r.body)
    assert len(found) > 40
    right = {"capri_timer_new(w, on_time, NULL)", "t ? 0 : -1"} if how != "pool" else set()
    if how == "async":
        right |= {"capri_on_cancel(r, on_cancel, NULL)", "capri_on_writable(r, on_writable, NULL)"}
    good = {k for k, v in found.items() if v == 0}
    assert good <= right, good - right
    assert all(-7 <= v <= 0 for v in found.values()), found
    if how == "pool":
        s.wait_log("timer.*not from this thread|thread.*timer")
    assert s.get("/inline/echo/after").body == b"after"
    assert s.status()["exits"] == []


def test_codes_and_answers_that_are_none(serve):
    s = bad(serve, workers=1)
    failed = 0
    for how in ("inline", "pool"):
        for code in (0, 1, 3, 77, -1, -5, -7, -500, 2147480000, -2147480000):
            r = s.get(f"/{how}/code?code={code}")
            assert r.status == 500, (how, code, r)
            failed += 1
        r = s.get(f"/{how}/never")
        assert r.status == 500
        failed += 1
        assert s.get(f"/{how}/code?code=2").status == 404  # declined
    for code in (3, 77, -1, -2147480000):
        assert s.get(f"/async/code?code={code}").status == 500
        failed += 1
    assert errors(s, "handler_failed") == failed
    for how in ("inline", "pool", "async"):
        assert ask(s, f"/{how}/fill-too-much") is None  # cut
    for how in ("pool", "async"):
        assert s.get(f"/{how}/write-too-much").body == b"1234"
        assert s.get(f"/{how}/stream-twice").body == b"whole"
    s.wait_log(r"too much: 0 -4 0 -4", count=2)
    s.wait_log(r"stream twice: 0 0 -2", count=2)
    assert ask(s, "/pool/begin-and-return") is None
    s.wait_log("returned in the midst of a stream")
    assert s.get("/inline/echo/after").body == b"after"
    assert s.status()["exits"] == []


# ---- 10: spoils the process ----


def test_spoils_signals_and_limits(serve):
    s = bad(serve, workers=2, env={"GRACEFUL_TIMEOUT": "2s", "WORKER_TIMEOUT": "5s"})
    with Echoes(s, threads=2) as others:
        for _ in range(6):
            for how in HOW:
                assert s.get(f"/{how}/signals").body == b"survived"
        others.some_more()
        # Without descriptors a worker accepts nobody; the other one does.
        assert s.get("/inline/limits").body == b"survived"
        others.some_more(50)
    assert others.failed == []
    begin = time.monotonic()
    assert s.stop() == 0
    assert time.monotonic() - begin < 4 * lib.PATIENCE
    assert not s.log_lines("CRITICAL")


def test_deaf_and_stuck(serve):
    """With all signals blocked it spins: no stack, no ABRT; KILL ends it."""
    s = bad(serve, workers=1, env={"GRACEFUL_TIMEOUT": "1s", "WORKER_TIMEOUT": "1s"})
    pid = s.worker_pids()[0]
    with s.connect() as c:
        assert c.get("/inline/signals").body == b"survived"
        c.send("GET /inline/spin HTTP/1.1\r\nHost: a\r\n\r\n")
        s.wait_log(rf"WORKER TIMEOUT \(pid:{pid}\).*path=/inline/spin")
        s.wait_log(rf"\(pid:{pid}\) no stack: ")
        e = wait_exit_of(s, pid)
        assert (e["reason"], e["signal"]) == ("timeout", "SIGKILL")
    wait_workers(s, 1)


def test_alarm(serve):
    """SIGALRM is what ends an orphan; a module that calls alarm() ends its worker."""
    s = bad(serve, workers=2)
    assert s.get("/inline/alarm").body == b"survived"
    s.wait_log(r"was sent SIGALRM! killed from outside")
    wait_workers(s)


# ---- 11: writes over the segment ----


def scribbled(serve, seed, seconds):
    s = bad(serve, workers=2, env={"WORKER_TIMEOUT": "2s", "GRACEFUL_TIMEOUT": "2s"})
    begin, cpu, end = time.monotonic(), cpu_seconds(s.pid), time.monotonic() + seconds
    while time.monotonic() < end:
        left = int(1000 * (end - time.monotonic())) + 1
        ask(s, f"/inline/scribble?seed={seed}&ms={left}", timeout=2)
        time.sleep(0.2)
        assert s.process.poll() is None, s.log()[-3000:]
    s.kill(signal.SIGTTIN)
    s.wait_log("SIGTTIN|[Ss]caling|workers", 5)
    share = (cpu_seconds(s.pid) - cpu) / (time.monotonic() - begin)
    assert share < 0.5, share
    for pid in lib.children(s.pid):  # whoever still scribbles
        s.kill(signal.SIGKILL, pid)
    wait_until(lambda: look(s), 30, lambda: f"/status:\n{s.log()[-3000:]}")
    s.kill(signal.SIGHUP)
    wait_until(lambda: s.log_lines("[Rr]eload"), 5, "the reload")

    def served():
        r = [ask(s, f"/{how}/echo/after", timeout=2) for how in HOW]
        m = ask(s, s.prefix + "/metrics", timeout=2)
        return look(s) and m and m.status == 200 and all(
            x and x.status == 200 and x.body == b"after" for x in r)
    wait_until(served, 30, lambda: f"service:\n{s.log()[-3000:]}")
    before = cpu_seconds(s.pid)
    time.sleep(0.5)
    assert cpu_seconds(s.pid) - before < 0.25  # calm again
    assert s.stop() == 0
    return s


def test_scribbles_over_the_segment(serve):
    scribbled(serve, random.randrange(1 << 30), 3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_scribbles_for_long(serve, seed):
    scribbled(serve, seed, 60)
