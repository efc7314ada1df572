# SPDX-License-Identifier: MIT
"""The few that show that it works at all: what make check runs beside the unit tests."""
import os
import re
import signal
import socket
import subprocess

import pytest

import lib

pytestmark = pytest.mark.smoke


def test_version():
    r = lib.run("--version")
    assert r.returncode == 0
    assert re.fullmatch(r"capricorn \d+\.\d+\.\d+\n", r.stdout)
    assert r.stderr == ""


def test_help_names_the_settings():
    r = lib.run("--help")
    assert r.returncode == 0
    assert "WEB_WORKERS" in r.stdout and "--bind" in r.stdout


def test_output_that_does_not_arrive_is_an_error():
    with open("/dev/full", "wb") as full:
        for option in ("--help", "--version", "--print-config", "--check-config"):
            p = subprocess.run([lib.BINARY, option], stdout=full, stderr=subprocess.PIPE,
                               env=lib.clean_env(), timeout=20, check=False)
            assert p.returncode == 1, option
            assert b"No space left on device" in p.stderr


def test_check_config_prints_the_bill():
    r = lib.run("--check-config", env={"WEB_WORKERS": 4, "WORKER_CONNECTIONS": 1000})
    assert r.returncode == 0, r.stderr
    rows = re.findall(r"^  (\S+) +(\d+)$", r.stdout, re.M)
    assert rows and rows[-1][0] == "total"
    assert sum(int(n) for _, n in rows[:-1]) == int(rows[-1][1])


@pytest.mark.parametrize("workers,connections,bound", [(9, 1000, 24 << 20), (32, 2000, 80 << 20)])
def test_the_bill_is_bounded(workers, connections, bound):
    r = lib.run("--check-config", env={"WEB_WORKERS": workers, "WORKER_CONNECTIONS": connections})
    assert r.returncode == 0, r.stderr
    rows = dict(re.findall(r"^  (\S+) +(\d+)$", r.stdout, re.M))
    cache = sum(int(n) for name, n in rows.items() if name.startswith("cache"))
    assert int(rows["total"]) - cache <= bound


def test_serves_and_stops(serve):
    server = serve("builtin:api", env={"ASAN_OPTIONS": lib.LEAK_CHECK})
    r = server.get("/")
    assert r.status == 200
    assert r.json()["name"] == "capricorn"
    with server.connect() as c:
        assert c.get("/livez").status == 200
        assert c.request("POST", "/echo", {"Content-Type": "text/x"}, b"one").body == b"one"
    assert server.stop() == 0


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_nothing_is_left(serve, sig):
    s = serve("builtin:hello")
    assert s.get("/").body == b"Hello, World!"
    segment = s.status()["shm"]["name"]
    assert os.path.exists("/dev/shm/" + segment.lstrip("/"))
    address = s.address
    assert s.stop(sig) == 0
    assert not os.path.exists("/dev/shm/" + segment.lstrip("/"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 1)
