# SPDX-License-Identifier: MIT
"""HUP with modules: new code for everybody at once, old code for the old generation, no wait."""
import os
import signal
import threading
import time

import pytest

from lib import PATIENCE, SANITIZED, wait_until
from load import Load
from modules import module


def text(s):
    return s.get("/").body.decode()


def reload(s, generation):
    s.kill(signal.SIGHUP)
    s.wait_log(f"Reload finished: generation {generation}", 30)


def test_new_code_is_served_by_all(serve, tmp_path):
    so = module("small", 'TEXT="one"', to=str(tmp_path / "app.so"))
    s = serve(so, workers=2)
    assert {text(s) for _ in range(10)} == {"one"}
    module("small", 'TEXT="two"', to=so)
    assert {text(s) for _ in range(10)} == {"one"}
    with Load(s) as load:
        reload(s, 2)
        assert {text(s) for _ in range(20)} == {"two"}
    assert load.failed == []


def test_the_old_generation_keeps_its_code(serve, tmp_path):
    """Even if the file is overwritten in place, with garbage."""
    so = module("small", 'TEXT="one"', to=str(tmp_path / "app.so"))
    s = serve(so, workers=2)
    with open(so, "r+b") as f:
        f.write(os.urandom(8192))
    pid = s.worker_pids()[0]
    s.kill(signal.SIGKILL, pid)
    wait_until(lambda: pid not in (now := s.worker_pids()) and len(now) == 2, 20, "another worker")
    assert {text(s) for _ in range(20)} == {"one"}
    # Nor does a reload to that garbage change anything.
    pids = s.worker_pids()
    s.kill(signal.SIGHUP)
    s.wait_log("Reload failed")
    assert s.worker_pids() == pids
    assert {text(s) for _ in range(20)} == {"one"}
    assert s.get("/_capricorn/health").json()["status"] == "degraded"
    module("small", 'TEXT="three"', to=so)
    s.kill(signal.SIGHUP)
    wait_until(lambda: {text(s) for _ in range(10)} == {"three"}, 30, "the new code")
    wait_until(lambda: s.get("/_capricorn/health").json()["status"] == "healthy", 10,
               "the end of the reload")


@pytest.mark.parametrize("broken", [["START_FAILS=-1"], ["ABI=7"], ["SYMBOL=other"]],
                         ids=["start", "abi", "symbol"])
def test_a_broken_module_does_not_get_in(serve, tmp_path, broken):
    so = module("small", 'TEXT="one"', to=str(tmp_path / "app.so"))
    s = serve(so, workers=1)
    pids = s.worker_pids()
    module("small", *broken, to=so)
    s.kill(signal.SIGHUP)
    s.wait_log("Reload failed|reload.*failed|gave up", 30)
    assert s.worker_pids() == pids
    assert text(s) == "one"


def test_a_start_that_takes_long_delays_no_request(serve, tmp_path):
    so = module("small", 'TEXT="one"', to=str(tmp_path / "app.so"))
    s = serve(so, workers=1)
    slow_ms = 3000 if not SANITIZED else 1500
    module("small", 'TEXT="two"', f"START_MS={slow_ms}", to=so)
    took, stop = [], threading.Event()

    def ask():
        with s.connect() as c:
            while not stop.is_set():
                begin = time.monotonic()
                assert c.get("/").status == 200
                took.append(time.monotonic() - begin)
                time.sleep(0.005)
    t = threading.Thread(target=ask)
    t.start()
    try:
        begin = time.monotonic()
        s.kill(signal.SIGHUP)
        time.sleep(slow_ms / 1000 - 0.3) # all the time that start() takes, it is the old one
        assert text(s) == "one"
        stop.set()
        t.join()
        s.wait_log("Reload finished: generation 2", 30)
        assert time.monotonic() - begin >= slow_ms / 1000
    finally:
        stop.set()
        t.join()
    assert text(s) == "two"
    assert len(took) > 50
    assert max(took) < 0.1 * PATIENCE, f"{max(took) * 1000:.0f} ms"
