# SPDX-License-Identifier: MIT
"""Deaths and hangs: of workers, of the keeper, of the master."""
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

import lib
from lib import RawClient, alive, wait_until
from load import Load


def test_killed_worker_is_a_log_line(serve):
    s = serve("builtin:api", workers=3)
    before = s.status()["totals"]["requests"]
    ways = [(signal.SIGKILL, "killed"), (signal.SIGTRAP, "crashed")]
    if not lib.SANITIZED:  # they catch this one themselves
        ways.append((signal.SIGSEGV, "crashed"))
    for sig, reason in ways:
        victim = s.worker_pids()[0]
        s.kill(sig, victim)
        s.wait_log(rf"Worker \(pid:{victim}\) was sent {sig.name}")
        wait_until(lambda: len(s.worker_pids()) == 3, what="three workers")
        last = s.status()["exits"][0]
        assert (last["pid"], last["reason"]) == (victim, reason)
        assert last["signal"] in (sig, sig.name, int(sig))
    assert s.status()["totals"]["requests"] >= before


def test_request_in_progress_is_recorded(serve):
    s = serve("builtin:api", workers=1, env={"STATUS_BIND": "127.0.0.1:0"})
    keeper = lib.parse_url(s.wait_log(r"Status at: (\S+)").group(1))

    def worker():
        """As the keeper sees it: the worker is not asked."""
        with RawClient(keeper) as c:
            return c.request("GET", "/status", close=True).json()["workers"][0]
    with s.connect() as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: my-upload\r\n"
               "Content-Length: 4\r\n\r\nab")
        wait_until(lambda: (worker()["request"] or {}).get("id") == "my-upload",
                   what="the request")
        s.kill(signal.SIGKILL, worker()["pid"])
        assert c.is_closed()
    s.wait_log(r"was sent SIGKILL! Perhaps out of memory\?, at POST /echo \(id my-upload")
    wait_until(lambda: len(s.worker_pids()) == 1, what="a worker")
    assert "my-upload" in str(s.status()["exits"][0])


def test_only_requests_in_flight_fail_and_totals_never_fall(serve):
    s = serve("builtin:hello", workers=3)
    totals = [0]
    kills = 6
    with Load(s, threads=4) as load:
        for _ in range(kills):
            victim = wait_until(lambda: [p for p in s_workers(s) or [] if alive(p)],
                                what="a worker")[0]
            s.kill(signal.SIGKILL, victim)
            wait_until(lambda v=victim: not alive(v), what="its end")
            totals.append(wait_until(lambda: s_total(s), what="an answer"))
    assert totals == sorted(totals)
    # A client has one request in flight; a kill can cost those on that worker.
    assert len(load.failed) <= kills * 4
    assert load.ok > 100
    wait_until(lambda: len(s.worker_pids()) == 3, what="three workers")
    requests = s.status()["totals"]["requests"]
    assert load.ok <= requests <= load.ok + len(load.failed)


def s_workers(s):
    try:
        return s.worker_pids()
    except (OSError, EOFError, AssertionError):
        return None  # the question was on the worker that was killed


def s_total(s):
    try:
        return s.status()["totals"]["requests"]
    except (OSError, EOFError, AssertionError):
        return None


def test_stopped_worker_is_reported_and_killed(serve):
    s = serve("builtin:api", workers=2, env={"WORKER_TIMEOUT": "1s"})
    victim = s.worker_pids()[0]
    s.kill(signal.SIGSTOP, victim)
    m = s.wait_log(rf"\[CRITICAL\] WORKER TIMEOUT \(pid:{victim}\) slot=\d+ .*process=T.*$")
    assert "request=" in m.group(0)
    # Others serve, and it is replaced at once.
    for _ in range(20):
        assert s.get("/").status == 200
    wait_until(lambda: not alive(victim), what="its end")
    wait_until(lambda: len(s.worker_pids()) == 2, what="two workers")
    last = s.status()["exits"][0]
    assert (last["pid"], last["reason"]) == (victim, "timeout")
    assert len(s.log_lines("WORKER TIMEOUT")) == 1


def test_stopped_worker_gives_no_stack(serve):
    s = serve("builtin:api", workers=2, env={"WORKER_TIMEOUT": "1s"})
    victim = s.worker_pids()[0]
    s.kill(signal.SIGSTOP, victim)
    s.wait_log(rf"\(pid:{victim}\) no stack: it did not run to give one .*process=T")
    s.wait_log(rf"Worker \(pid:{victim}\) was sent SIGKILL! made no progress")
    assert not s.log_lines(r"#0 ")


def has_two_others(s, victim):
    pids = s_workers(s) or []
    return len(pids) == 2 and victim not in pids


def is_asleep(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rpartition(")")[2].split()[0] == "S"


def test_crash_has_last_words(serve):
    if lib.SANITIZED:
        pytest.skip("a sanitizer has the last words there")
    s = serve("builtin:api", workers=2)
    for sig in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT):
        victim = s.worker_pids()[0]
        wait_until(lambda v=victim: is_asleep(v), what="it to wait in its loop")
        s.kill(sig, victim)
        s.wait_log(rf"Worker \(pid:{victim}\) was sent {sig.name}")
        s.wait_log(rf"\(pid:{victim}\) #\d+ loop_run_once\+0x[0-9a-f]+ \(capricorn")
        s.wait_log(rf"\(pid:{victim}\) #\d+ worker_main\+0x")
        wait_until(lambda v=victim: has_two_others(s, v), what="two workers")
    last = s.status()["exits"][0]
    assert last["reason"] == "crashed"
    assert not s.log_lines(r"#\d+ main\+")  # how it was forked is nobody's business


def test_reporters_leave_nothing_behind(serve):
    """Many deaths: as many reporters as fit, no zombie, and the master has no more descriptors."""
    s = serve("builtin:api", workers=2)
    fds = len(os.listdir(f"/proc/{s.pid}/fd"))
    for _ in range(6):
        victim = s.worker_pids()[0]
        s.kill(signal.SIGABRT, victim)
        s.wait_log(rf"Worker \(pid:{victim}\) was sent SIGABRT")
        wait_until(lambda v=victim: has_two_others(s, v), what="two workers")
    wait_until(lambda: len(lib.children(s.pid)) == 3, what="three children")
    wait_until(lambda: len(os.listdir(f"/proc/{s.pid}/fd")) == fds, what="its descriptors")


def test_whole_tree_stopped_kills_nobody(serve):
    s = serve("builtin:api", workers=2, env={"WORKER_TIMEOUT": "1s"})
    tree = [s.pid, *lib.children(s.pid)]
    for pid in tree:
        s.kill(signal.SIGSTOP, pid)
    time.sleep(5)
    for pid in tree:
        s.kill(signal.SIGCONT, pid)
    s.wait_log("every deadline starts afresh")
    time.sleep(1.5)
    assert [s.pid, *lib.children(s.pid)] == tree
    assert s.get("/").status == 200
    assert not s.log_lines("TIMEOUT")


def test_killed_keeper_is_replaced(serve):
    s = serve("builtin:api")
    victim = s.keeper_pid()
    s.kill(signal.SIGKILL, victim)
    s.wait_log(rf"Keeper \(pid:{victim}\) was sent SIGKILL")
    wait_until(lambda: s.keeper_pid() not in (victim, None), what="another keeper")
    assert s.get("/").status == 200


def test_stopped_keeper_is_replaced(serve):
    s = serve("builtin:api", env={"WORKER_TIMEOUT": "1s"})
    victim = s.keeper_pid()
    s.kill(signal.SIGSTOP, victim)
    s.wait_log(r"KEEPER TIMEOUT")
    wait_until(lambda: s.keeper_pid() not in (victim, None), what="another keeper")


def test_master_without_descriptors(serve):
    """It cannot start anybody then, says so, and does it when it can."""
    s = serve("builtin:api", workers=2)
    keep = resource.prlimit(s.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (8, keep[1]))
    victim = s.worker_pids()[0]
    s.kill(signal.SIGKILL, victim)
    s.wait_log("socketpair: Too many open files")
    assert s.get("/").status == 200
    resource.prlimit(s.pid, resource.RLIMIT_NOFILE, keep)
    wait_until(lambda: len(s.worker_pids()) == 2, what="two workers")


def test_fork_storm_is_bounded_and_ends(serve):
    s = serve("builtin:api", workers=2)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for pid in lib.children(s.pid):
            try:
                s.kill(signal.SIGKILL, pid)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
    started = len(s.log_lines("Booting"))
    assert started < 60, started
    assert s.log_lines("die young")
    wait_until(lambda: s_workers(s) and len(s_workers(s)) == 2, 30, "two workers")


def memory_group():
    """A new memory cgroup: (directory, file of the limit). Skips where that cannot be made."""
    with open("/proc/self/cgroup", encoding="ascii") as f:
        rows = [line.rstrip("\n").split(":", 2) for line in f]
    for _, controllers, _ in rows:
        base, limit = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
                       if controllers == "memory" else ("/sys/fs/cgroup", "memory.max"))
        if controllers not in ("memory", ""):
            continue
        path = f"{base}/capricorn-test-{os.getpid()}"
        try:
            os.mkdir(path)
        except OSError:
            continue
        if os.path.exists(f"{path}/{limit}"):
            return path, limit
        os.rmdir(path)
    pytest.skip("no memory cgroup can be made here")


EATER = """
import time
hold = []
for _ in range(200):
    hold.append(bytearray(1 << 20))
    time.sleep(0.005)
"""


@pytest.mark.slow
def test_out_of_memory_is_told(serve):
    group, limit = memory_group()

    def join(pid=0):
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(pid or os.getpid()))
    eater = s = None
    try:
        with open(f"{group}/{limit}", "w", encoding="ascii") as f:
            f.write(str(150 << 20))
        s = serve("builtin:api", preexec=join)
        victim = s.worker_pids()[0]
        with open(f"/proc/{victim}/oom_score_adj", "w", encoding="ascii") as f:
            f.write("1000")
        eater = subprocess.Popen([sys.executable, "-c", EATER], preexec_fn=join)
        s.wait_log(rf"Worker \(pid:{victim}\) was sent SIGKILL! killed by the kernel: out of mem", 30)
        eater.kill()
        wait_until(lambda: s_workers(s) and len(s_workers(s)) == 2, what="two workers")
        last = next(e for e in s.status()["exits"] if e["pid"] == victim)
        assert last["reason"] == "oom"
        s.stop()
    finally:
        if eater:
            eater.kill()
            eater.wait()
        if s:
            s.destroy()
        wait_until(lambda: not open(f"{group}/cgroup.procs", encoding="ascii").read(),
                   what="an empty group")
        os.rmdir(group)


def test_killed_master(serve):
    s = serve("builtin:api", workers=2)
    address = s.address
    with s.connect() as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        wait_until(lambda: sum(w["in_flight"] for w in s.status()["workers"]) > 1,
                   what="the request")
        kids = lib.children(s.pid)
        s.kill(signal.SIGKILL)
        s.wait_exit()
        begun = time.monotonic()

        def refused():
            try:
                with RawClient(address):
                    return False
            except ConnectionRefusedError:
                return True
        wait_until(refused, what="refused connections", interval=0.002)
        assert time.monotonic() - begun < 0.1 * max(lib.PATIENCE, 2)
        # What was begun is finished.
        c.send("cd")
        assert c.response("POST").body == b"abcd"
    wait_until(lambda: not any(alive(p) for p in kids), what="the end of the children")
    assert s.shm_files()

    t = serve("builtin:api", shm=s.shm_name, bind=f"127.0.0.1:{address[1]}")
    assert t.log_lines("Removed the segment .* of an instance that is gone")
    assert t.get("/").status == 200
    assert t.stop() == 0


def test_hung_children_do_not_outlive_a_killed_master_for_long(serve):
    s = serve("builtin:hello", workers=2, env={"GRACEFUL_TIMEOUT": "1s"})
    kids = lib.children(s.pid)
    s.kill(signal.SIGKILL)
    s.wait_exit()
    wait_until(lambda: not any(alive(p) for p in kids), 15, "the end of the children")
    for name in s.shm_files():
        os.unlink("/dev/shm/" + name)
