# SPDX-License-Identifier: MIT
"""HUP: the new configuration applies, and nobody notices the change."""
import os
import signal

from lib import wait_until
from load import Load


def test_no_request_is_lost_in_reloads(serve):
    s = serve("builtin:hello", workers=3)
    with Load(s) as load:
        for generation in range(2, 6):
            s.kill(signal.SIGHUP)
            s.wait_log(f"Reload finished: generation {generation}", 30)
    assert load.failed == []
    assert load.ok > 0
    st = s.status()
    assert st["generation"] == 5
    assert {w["generation"] for w in st["workers"]} == {5}
    assert st["keeper"]["generation"] == 5
    assert all(e["reason"] == "reload" for e in st["exits"])
    assert st["totals"]["requests"] == load.ok


def test_new_settings_apply_to_everybody(serve):
    s = serve("builtin:hello", workers=None, config="web_workers: 2\nserver_header: true\n")
    assert s.get("/").header("server")
    s.write_config("web_workers: 3\nserver_header: false\n")
    s.kill(signal.SIGHUP)
    s.wait_log("Reload finished: generation 2")
    assert len(s.worker_pids()) == 3
    for _ in range(10):
        assert s.get("/").header("server") is None


def test_boot_settings_keep_their_value_and_are_told(serve):
    s = serve("builtin:hello", workers=None, config="web_workers: 2\nbacklog: 100\n")
    s.write_config("web_workers: 2\nbacklog: 200\n")
    s.kill(signal.SIGHUP)
    s.wait_log("Reload finished: generation 2")
    assert s.log_lines("(?i)backlog.*needs a restart")


def test_bad_configuration_changes_nothing(serve):
    s = serve("builtin:api", workers=None, config="web_workers: 2\n")
    s.wait_ready(2)
    pids = s.worker_pids()
    s.write_config("web_workers: lots\nnonsense: 1\n")
    s.kill(signal.SIGHUP)
    s.wait_log("Reload failed")
    assert s.log_lines(r"capricorn\.yaml:1:.*web_workers")
    assert s.log_lines(r"capricorn\.yaml:2:.*nonsense")
    st = s.status()
    assert s.worker_pids() == pids
    assert st["generation"] == 1
    assert s.get("/health").json()["status"] == "degraded"
    s.write_config("web_workers: 1\n")
    s.kill(signal.SIGHUP)
    s.wait_log("Reload finished: generation 2")
    assert len(s.worker_pids()) == 1
    assert s.get("/health").json()["status"] == "healthy"


def test_log_files_change(serve):
    s = serve("builtin:hello", workers=None, config="web_workers: 1\nerror_log: one.log\n",
              wait=False)
    one, two = (os.path.join(s.tmp, n) for n in ("one.log", "two.log"))

    def text(path):
        try:
            with open(path, encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return ""
    wait_until(lambda: "Ready: " in text(one), what="the start in one.log")
    # One that cannot be opened changes nothing.
    s.write_config("web_workers: 1\nerror_log: no/such/dir/x.log\n")
    s.kill(signal.SIGHUP)
    wait_until(lambda: "Reload failed: a log file cannot be opened" in text(one), what="refusal")
    s.write_config("web_workers: 1\nerror_log: two.log\n")
    s.kill(signal.SIGHUP)
    wait_until(lambda: "Reload finished" in text(two), what="the end of the reload in two.log")
    assert "Reload finished" not in text(one)
    s.stop()
    assert "Shutting down" in text(two)
    # What workers and keeper of the new generation have said went there too.
    assert "Worker exiting" in text(two)


def test_more_workers_than_there_is_room_for(serve):
    s = serve("builtin:hello", workers=None, config="web_workers: 1\nworkers_max: 3\n")
    s.write_config("web_workers: 5\nworkers_max: 9\n")
    s.kill(signal.SIGHUP)
    s.wait_log("Reload (finished|failed)")
    # WORKERS_MAX is of the start: it sized the segment.
    assert len(s.worker_pids()) <= 3
    assert s.get("/").status == 200


def test_env_file_is_read_again(serve, tmp_path):
    path = tmp_path / "tuning.env"
    path.write_text("WEB_WORKERS=1\n")
    s = serve("builtin:hello", "--env-file", str(path), workers=None)
    assert len(s.worker_pids()) == 1
    path.write_text("WEB_WORKERS=3\n")
    s.kill(signal.SIGHUP)
    s.wait_log("Reload finished")
    assert len(s.worker_pids()) == 3


def test_long_request_survives_a_reload(serve):
    s = serve("builtin:api", workers=1)
    with s.connect() as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        wait_until(lambda: sum(w["in_flight"] for w in s.status()["workers"]) > 1,
                   what="the request")
        s.kill(signal.SIGHUP)
        s.wait_log("Generation 2 is ready")
        wait_until(lambda: s.worker_pids("draining"), what="the old worker to have heard of it")
        # Served by the new generation, while the old one finishes.
        assert s.get("/").status == 200
        assert not s.log_lines("Reload finished")
        c.send("cd")
        r = c.response("POST")
        assert r.body == b"abcd"
        assert r.header("connection") == "close"
    s.wait_log("Reload finished")


def test_idle_connection_is_closed_politely(serve):
    s = serve("builtin:hello", workers=1)
    with s.connect() as c:
        assert c.get("/").status == 200
        s.kill(signal.SIGHUP)
        s.wait_log("Generation 2 is ready")
        assert c.is_closed(10)
    s.wait_log("Reload finished")


def test_many_hups_are_at_most_two_reloads(serve):
    s = serve("builtin:hello", workers=2)
    for _ in range(20):
        s.kill(signal.SIGHUP)
    s.wait_log("Reload finished")

    def at_rest():  # one that was asked for meanwhile may begin at any time
        doc = s.status()
        return doc["generation"] == len(s.log_lines("Reload finished")) + 1 and \
            [w["state"] for w in doc["workers"]] == ["ready", "ready"]
    wait_until(at_rest, what="the end of the last reload, with two workers")
    # Many signals at once are one for the kernel; never more than one waits.
    assert s.status()["generation"] <= 21
