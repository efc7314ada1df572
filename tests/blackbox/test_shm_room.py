# SPDX-License-Identifier: MIT
"""A /dev/shm that is small, as in a container: what nobody has asked for gives way."""
import ctypes
import signal
import subprocess

import pytest

import lib

CLONE_NEWNS = 0x20000
MS_REC_PRIVATE = 0x4000 | 0x40000
libc = ctypes.CDLL(None, use_errno=True)


def small_shm(megabytes):
    """To be called in a child: a mount namespace of its own with a /dev/shm of that size."""
    def mount():
        for ok in (libc.unshare(CLONE_NEWNS) == 0,
                   libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None) == 0,
                   libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=%dm" % megabytes) == 0):
            if not ok:
                raise OSError(ctypes.get_errno(), "no mount of one's own")
    return mount


def may_mount():
    try:
        return subprocess.run(["true"], preexec_fn=small_shm(1), check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


pytestmark = pytest.mark.skipif(not may_mount(), reason="mounting is not allowed here")


def only_generation(s, n):
    lib.wait_until(lambda: {w["generation"] for w in s.status()["workers"]} == {n}, 30,
                   lambda: f"generation {n} alone:\n{s.log()}")


def test_workers_max_gives_way(serve):
    s = serve("builtin:api", "--workers", "4", workers=4, preexec=small_shm(8))
    s.wait_log(r"WARNING\] WORKERS_MAX: 16 do not fit into the 8388608 bytes that are free in "
               r"/dev/shm: lowered to [4-9]$")
    assert not s.log_lines("WEB_WORKERS")
    s.kill(signal.SIGHUP)                      # two generations beside each other fit, too
    only_generation(s, 2)
    assert len(s.worker_pids()) == 4


def test_the_cache_gives_way_first(serve):
    s = serve("builtin:api", "--workers", "2", workers=2, preexec=small_shm(48))
    s.wait_log(r"WARNING\] CACHE_MEMORY: 67108864 bytes do not fit into the 50331648 that are free "
               r"in /dev/shm: lowered to 8388608$")
    assert not s.log_lines("WORKERS")
    assert 6 << 20 <= s.status()["cache"]["memory_bytes"] <= 8 << 20


def test_computed_workers_give_way(serve):
    s = serve("builtin:api", "--worker-timeout", "100s", workers=None, preexec=small_shm(4))
    s.wait_log(r"WEB_WORKERS: lowered from \d+ to 1$")
    assert len(s.worker_pids()) == 1
    s.kill(signal.SIGHUP)
    only_generation(s, 2)
    assert len(s.worker_pids()) == 1


@pytest.mark.parametrize("args", [["-w", "200"], ["-w", "2", "--workers-max", "200"],
                                  ["--workers-min", "200", "-w", "200"]])
def test_what_was_asked_for_does_not(serve, args):
    s = serve("builtin:api", *args, "--worker-timeout", "9s", workers=None, wait=False,
              preexec=small_shm(64))
    assert s.wait_exit() == 1
    assert "in /dev/shm: " in s.log() and "bytes are needed" in s.log()
    assert "lowered" not in s.log()
