# SPDX-License-Identifier: MIT
"""Error log and access log: what a line is, that none is torn, full disks, stalled pipes, USR1."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from lib import wait_until


COMBINED = re.compile(r'127\.0\.0\.1 - (\S+) \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] '
                      r'"((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-) '
                      r'"((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"')


def access_log(tmp_path):
    return str(tmp_path / "access.log")


def lines(path, count, seconds=10):
    """The lines of the file, once there are as many."""
    def read():
        with open(path, encoding="utf-8") as f:
            text = f.read()
        found = text.splitlines()
        return found if len(found) >= count and text.endswith("\n") else None
    return wait_until(read, seconds, f"{count} lines in {path}")


def line_with(path, text):
    """The line that holds this text, once it is there (lines of other requests are, too)."""
    return wait_until(lambda: next((ln for ln in lines(path, 1) if text in ln), None), 10,
                      f"{text} in {path}")


def test_off_by_default(server):
    server.get("/")
    m = server.metrics()
    assert m.sum("capricorn_access_log_lines_total") == 0


def test_combined(serve, tmp_path):
    path = access_log(tmp_path)
    s = serve("builtin:hello", "--access-logfile", path, workers=1)
    s.request("POST", "/a%20b?x=1", {"Referer": "http://r/", "User-Agent": "test \"1\"\\",
                                     "Authorization": "Basic dXNlcjpwYXNz"}, b"zzz")
    line = line_with(path, "/a%20b")
    m = COMBINED.fullmatch(line)
    assert m, line
    assert m.groups() == ("user", "POST /a%20b?x=1 HTTP/1.1", "200", "13", "http://r/",
                          r'test \"1\"\\')
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_bytes_of_all_kinds_of_answers(serve, tmp_path):
    path = access_log(tmp_path)
    s = serve(workers=1, env={"ACCESS_LOG": path})
    for target in ("/", "/missing", "/status", "/metrics"):
        size = len(s.get(target + "?size").body)
        line = line_with(path, f'"GET {target}?size ')
        assert COMBINED.fullmatch(line).group(4) == str(size), line
    s.request("HEAD", "/?head")
    assert COMBINED.fullmatch(line_with(path, "HEAD /?head")).group(4) == "-"
    body = b"x" * 300000
    assert s.request("POST", "/echo?big", body=body).body == body
    assert COMBINED.fullmatch(line_with(path, "/echo?big")).group(4) == "300000"


def test_atoms(serve, tmp_path):
    path = access_log(tmp_path)
    s = serve("builtin:hello", workers=1, env={
        "ACCESS_LOG": path, "ACCESS_LOG_FORMAT":
        "%(h)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%(T)s|%(M)s|%(p)s|%({x-a}i)s|"
        "%({content-type}o)s|%({x-request-id}o)s|%(L)s|%%"})
    pid = s.worker_pids()[0]
    s.get("/q?a=b", {"X-A": "seen", "X-Request-Id": "rid"})
    line = line_with(path, "|/q|")
    assert re.fullmatch(rf"127\.0\.0\.1\|GET\|/q\|a=b\|HTTP/1\.1\|200\|13\|0\|\d+\|<{pid}>\|seen\|"
                        r"text/plain\|rid\|0\.\d{6}\|%", line), line


def test_json(serve, tmp_path):
    path = access_log(tmp_path)
    s = serve("builtin:hello", workers=1, env={"ACCESS_LOG": path, "ACCESS_LOG_FORMAT": "json"})
    s.get("/x?y", {"User-Agent": "a\"b\\c\té\xff", "X-Forwarded-For": "9.9.9.9"})
    doc = json.loads(line_with(path, "\"/x?y\""))
    assert (doc["method"], doc["status"], doc["bytes"]) == ("GET", 200, 13)
    assert (doc["client"], doc["peer"]) == ("9.9.9.9", "127.0.0.1")
    assert doc["user_agent"].startswith("a\"b\\c\t")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", doc["time"])


def test_no_line_can_be_forged(serve, tmp_path):
    path = access_log(tmp_path)
    s = serve("builtin:hello", "--access-logfile", path, workers=1)
    evil = b'GET /" HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n'
    with s.connect() as c:
        c.send(evil)
        c.response()
    with s.connect() as c:
        c.send(b'GET /marker HTTP/1.1\r\nHost: a\r\nUser-Agent: x" 200 5 "-" "\x85\x9b31m\r\n\r\n')
        assert c.response().status == 200
    line_with(path, "/marker")
    for line in lines(path, 2):
        assert COMBINED.fullmatch(line), line
        assert line.isascii() and line.isprintable()


def hammer(s, threads, each, path="/"):
    def run():
        with s.connect() as c:
            for _ in range(each):
                assert c.get(path).status == 200
    pool = [threading.Thread(target=run) for _ in range(threads)]
    for t in pool:
        t.start()
    for t in pool:
        t.join()


def test_no_line_is_lost_or_torn(serve, tmp_path):
    path = access_log(tmp_path)
    s = serve("builtin:hello", "--access-logfile", path, workers=3)
    hammer(s, 6, 300, "/counted")
    s.stop()
    found = [ln for ln in lines(path, 1800) if "/counted" in ln]
    assert len(found) == 1800
    assert all(COMBINED.fullmatch(ln) for ln in lines(path, 1800))


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_the_log_keeps_up_at_full_speed(serve):
    s = serve("builtin:hello", "--access-logfile", "/dev/null", workers=2)
    subprocess.run(["wrk", "-t1", "-c16", "-d2", s.url], check=True, timeout=60,
                   stdout=subprocess.DEVNULL)

    def counted():
        m = s.metrics()
        done = m.sum("capricorn_access_log_lines_total")
        lost = m.sum("capricorn_log_ring_lost_total")
        return done + lost >= m.sum("capricorn_http_requests_total") and done > 0
    wait_until(counted, 10, "as many lines as requests")
    # None, where the keeper gets a CPU when it asks for one.
    m = s.metrics()
    assert m.sum("capricorn_log_ring_lost_total") <= \
        0.05 * m.sum("capricorn_http_requests_total")


def test_killed_processes_lose_no_lines(serve, tmp_path):
    path = access_log(tmp_path)
    s = serve("builtin:hello", "--access-logfile", path, workers=2)
    hammer(s, 2, 50, "/counted")
    victims = [*s.worker_pids(), s.keeper_pid()]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(s.status()["exits"]) == 3, 10, "all exits")
    s.wait_ready()
    s.stop()
    found = [ln for ln in lines(path, 100) if "/counted" in ln]
    assert len(found) >= 100  # a killed keeper may leave some to be written twice
    assert all(COMBINED.fullmatch(ln) for ln in found)


def test_reopened_on_usr1(serve, tmp_path):
    path, errors = access_log(tmp_path), str(tmp_path / "error.log")
    s = serve("builtin:hello", "--access-logfile", path, workers=1, wait=False,
              env={"ERROR_LOG": errors})

    def port():
        if os.path.exists(errors):
            with open(errors, encoding="utf-8") as f:
                m = re.search(r"Listening at: (http://\S+)", f.read())
                return m and int(m.group(1).rpartition(":")[2])
        return None
    address = ("127.0.0.1", wait_until(port, 10, "the error log"))
    wait_until(lambda: request(address, "/before"), 10, "an answer")
    line_with(path, "/before")
    os.rename(path, path + ".1")
    os.rename(errors, errors + ".1")
    s.kill(signal.SIGUSR1)
    wait_until(lambda: os.path.exists(path) and os.path.exists(errors), 10, "new files")

    def after():
        request(address, "/after")
        return "/after" in text_of(path)
    wait_until(after, 10, "a line in the new file")
    assert "/before" not in text_of(path)
    s.stop()
    assert "[INFO]" in text_of(errors)


def text_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def request(address, path):
    with socket.create_connection(address, 5) as c:
        c.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while piece := c.recv(65536):
            data += piece
        return data.startswith(b"HTTP/1.1 200")


def test_a_full_disk_costs_counted_lines(serve):
    s = serve("builtin:hello", "--access-logfile", "/dev/full", workers=2)
    hammer(s, 2, 100)
    wait_until(lambda: s.get("/_capricorn/metrics") and
               s.metrics().sum("capricorn_log_lines_lost_total", log="access") >= 200, 10,
               "counted lines")
    assert s.metrics().sum("capricorn_access_log_lines_total") == 0
    s.wait_log(r"\[WARNING\] \d+ log lines are lost")
    hammer(s, 1, 10)
    s.stop()
    told = sum(int(n) for n in re.findall(r"(\d+) log lines are lost", s.log()))
    assert told >= 210
    assert len(s.log_lines("log lines are lost")) <= 2  # one at the end


def test_a_stalled_pipe_costs_counted_lines(serve, tmp_path):
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        s = serve("builtin:hello", "--access-logfile", fifo, workers=2)
        # More than pipe and rings hold; nobody waits, and what does not fit is counted.
        hammer(s, 4, 2500, "/" + "x" * 300)
        m = s.metrics()

        def settled():
            m = s.metrics()
            return m.sum("capricorn_log_lines_lost_total", log="access") + \
                m.sum("capricorn_log_ring_lost_total") > 0
        wait_until(settled, 10, "lost lines")
        assert m.sum("capricorn_http_requests_total", code=200) == 10000
        data = b""
        while True:
            try:
                piece = os.read(reader, 65536)
            except BlockingIOError:
                break
            data += piece
            if not piece:
                break
        text = data.decode()
        assert all(COMBINED.fullmatch(ln) for ln in text.splitlines())
        assert text.endswith("\n")
    finally:
        os.close(reader)


def test_a_reader_that_goes_away(serve, tmp_path):
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    s = serve("builtin:hello", "--access-logfile", fifo, workers=1)
    os.close(reader)
    hammer(s, 1, 50)
    wait_until(lambda: s.metrics().sum("capricorn_log_lines_lost_total", log="access") >= 50, 10,
               "counted lines")
    assert s.get("/").status == 200


def test_text_lines(server):
    for pattern in (r"Starting capricorn \S+", r"Listening at: http://127\.0\.0\.1:\d+",
                    r"Booting worker with pid: \d+"):
        line = server.log_lines(pattern)[0]
        assert re.match(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000\] \[\d+\] \[INFO\] ", line), line


def test_json_lines(serve):
    s = serve(workers=1, env={"LOG_FORMAT": "json"}, wait=False)

    def listening():
        rows = [json.loads(ln) for ln in s.log().splitlines() if ln.startswith("{")]
        return [r for r in rows if "Listening at" in r["message"]]
    row = wait_until(listening, 10, "the listening line")[0]
    assert set(row) >= {"time", "pid", "level", "message"}
    assert row["pid"] == s.pid
    wait_until(lambda: any("Booting worker" in ln for ln in s.log().splitlines()), 10, "a worker")
    s.stop()
    for line in s.log().splitlines():
        json.loads(line)


def test_a_reload_loses_no_lines(serve, tmp_path):
    path = access_log(tmp_path)
    s = serve("builtin:hello", "--access-logfile", path, workers=2)
    asked = 0
    for generation in (2, 3):
        for _ in range(50):
            assert s.get("/counted").status == 200
        asked += 50
        s.kill(signal.SIGHUP)
        while s.status()["generation"] != generation:
            assert s.get("/counted").status == 200
            asked += 1
    s.stop()
    found = [ln for ln in lines(path, asked) if "/counted" in ln]
    assert len(found) == asked
