# SPDX-License-Identifier: MIT
"""The master from start to end: what it opens, says, and leaves behind."""
import os
import resource
import signal
import subprocess
import time

import pytest

import lib
from lib import wait_until

ROOT = os.geteuid() == 0


def cmdline(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        return f.read().rstrip(b"\0").decode()


def switches(pid):
    """How often a process has gone to sleep of its own will."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("voluntary"))


@pytest.mark.smoke
def test_says_what_it_does(serve):
    s = serve("builtin:hello", workers=2)
    s.wait_log(r"\[INFO\] Starting capricorn \d+\.\d+")
    s.wait_log(rf"Listening at: http://127\.0\.0\.1:{s.port} \({s.pid}\)")
    for pid in s.worker_pids():
        s.wait_log(rf"Booting worker with pid: {pid}$")
    pids = s.worker_pids()
    assert s.stop() == 0
    for pid in pids:
        assert s.log_lines(rf"Worker exiting \(pid: {pid}\)")
    assert s.log_lines("Shutting down")


def test_titles(serve):
    s = serve("--name", "shop", workers=2)
    assert cmdline(s.pid) == "capricorn: master [shop]"
    assert cmdline(s.keeper_pid()) == "capricorn: keeper"
    slots = {w["pid"]: w["slot"] for w in s.status()["workers"]}
    for pid, slot in slots.items():
        assert cmdline(pid) == f"capricorn: worker {slot}"


def cpu_of_tree(pid):
    """Seconds that it and its children have run for, which other load does not add to."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        pids = [str(pid), *f.read().split()]
    total = 0
    for p in pids:
        with open(f"/proc/{p}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0]) / 1e9
    return total


def test_first_answer_takes_100_ms_of_cpu(serve):
    took = []
    for _ in range(5):
        s = serve("builtin:hello", workers=4, wait=False)
        wait_until(lambda s=s: s.urls, what="the listening line", interval=0.001)
        assert s.get("/").status == 200
        took.append(cpu_of_tree(s.pid))
        s.wait_ready()
        s.stop()
    assert min(took) < 0.1 * lib.PATIENCE, took


def test_idle_wakes_at_most_twice_a_second(serve):
    s = serve("builtin:hello", workers=2)
    pids = [s.pid, *lib.children(s.pid)]
    assert len(pids) == 4
    s.wait_log("Ready: ")
    time.sleep(1)  # the requests of the start have left
    before = [switches(p) for p in pids]
    begun = time.monotonic()
    time.sleep(5)
    seconds = time.monotonic() - begun
    rates = [(switches(p) - b) / seconds for p, b in zip(pids, before)]
    assert max(rates) <= 2.2, rates


def test_default_name_of_the_segment(serve):
    s = serve(shm=False)
    name = f"/capricorn-{os.geteuid()}-127.0.0.1:0-{s.pid}"
    assert s.status()["shm"]["name"] == name
    assert os.path.exists("/dev/shm" + name)
    assert s.stop() == 0
    assert not os.path.exists("/dev/shm" + name)


def test_second_instance_of_one_segment_is_refused(serve):
    s = serve()
    r = lib.run("--bind", "127.0.0.1:0", env={"SHM_NAME": s.shm_name})
    assert r.returncode == 1
    assert f"SHM_NAME: {s.shm_name} belongs to another running instance" in r.stderr
    assert s.get("/").status == 200


@pytest.mark.skipif(not ROOT, reason="needs a mount namespace")
def test_full_dev_shm(tmp_path):
    r = subprocess.run(
        ["unshare", "-m", "sh", "-c",
         "mount -t tmpfs -o size=1m tmpfs /dev/shm && exec \"$@\"", "sh", lib.BINARY, "--bind",
         "127.0.0.1:0"], env=lib.clean_env(), cwd=tmp_path, capture_output=True, text=True,
        timeout=20, check=False)
    if "unshare failed" in r.stderr or "mount" in r.stderr:
        pytest.skip("no mount namespace here")
    assert r.returncode == 1
    assert "bytes are needed" in r.stderr


def low_nofile():
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
    if ROOT:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)


def test_connections_that_do_not_fit_are_lowered(serve, tmp_path):
    # A directory that the other user may enter.
    cwd = f"/tmp/capricorn-test-cwd-{os.getpid()}"
    os.mkdir(cwd, 0o755)
    try:
        probe = subprocess.run([lib.BINARY, "--version"], preexec_fn=low_nofile, cwd=cwd,
                               capture_output=True, check=False)
        assert probe.returncode == 0
        s = serve(preexec=low_nofile, cwd=cwd, env={"WORKER_CONNECTIONS": 1000})
        s.wait_log(r"\[WARNING\] WORKER_CONNECTIONS: 1000 do not fit into RLIMIT_NOFILE \(400\)")
        assert s.get("/").status == 200
        assert s.stop() == 0
    except PermissionError:
        pytest.skip("the program is where another user cannot reach it")
    finally:
        os.rmdir(cwd)


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
def test_privileges_are_dropped(serve):
    s = serve("--user", "nobody")

    def dropped(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            fields = dict(line.split(":", 1) for line in f.read().splitlines())
        return (fields["Uid"].split(), fields["Gid"].split()) == (["65534"] * 4, ["65534"] * 4) and \
            "0" not in fields["Groups"].split()

    for pid in s.worker_pids():
        assert dropped(pid)
    keeper = s.keeper_pid()  # which is not waited for: it may just have been forked
    wait_until(lambda: dropped(keeper), what="a keeper without privileges")
    assert os.stat(f"/proc/{s.pid}").st_uid == 0
    assert s.get("/").status == 200


def test_pid_file(serve):
    s = serve("--pid", "run.pid")
    path = os.path.join(s.tmp, "run.pid")
    with open(path, encoding="ascii") as f:
        assert int(f.read()) == s.pid
    r = lib.run("--bind", "127.0.0.1:0", "--pid", path)
    assert r.returncode == 1
    assert f"belongs to a running master (pid {s.pid})" in r.stderr
    assert s.get("/").status == 200
    s.stop()
    assert not os.path.exists(path)


def test_chdir_and_reload_of_a_relative_file(serve, tmp_path):
    """A file is named relative to where the server was started, also when it is read again."""
    config = tmp_path / "here.yaml"
    config.write_text("server_header: false\n")
    s = serve("-c", "here.yaml", "--chdir=/", cwd=tmp_path)
    assert os.readlink(f"/proc/{s.pid}/cwd") == "/"
    assert s.get("/").header("server") is None
    config.write_text("server_header: true\n")
    s.kill(signal.SIGHUP)
    s.wait_log("Reload finished: generation 2")
    assert s.get("/").header("server")
    assert os.readlink(f"/proc/{s.pid}/cwd") == "/"


def test_umask(serve):
    s = serve("--umask", "027", "--bind", "unix:sock", bind=None, wait=False)
    s.wait_log("Ready: ")
    mode = os.stat(os.path.join(s.tmp, "sock")).st_mode & 0o777
    assert mode == 0o750
