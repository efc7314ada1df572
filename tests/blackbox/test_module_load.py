# SPDX-License-Identifier: MIT
"""Modules that cannot be loaded say why and end the start with exit code 4; those that can are
found in every way that APP is given."""
import os
import re
import signal

import pytest

from lib import room_in_shm, run, wait_until
from modules import module


def refused(path, *args, env=None, code=4, **kw):
    with room_in_shm(12 << 20):
        r = run(path, "--bind", "127.0.0.1:0", "--workers", "1", "--workers-max", "4", *args,
                env={"CACHE_MEMORY": "1m", **(env or {})}, **kw)
    assert r.returncode == code, r.stderr
    assert "Sanitizer" not in r.stderr
    return r.stderr


@pytest.mark.parametrize("defines, says", [
    (["ABI=99"], r"version 99 of the interface.*this server has 1.*compile it"),
    (["SYMBOL=something_else"], r'does not export "capricorn_app".*APP=.*:SYMBOL'),
    (["UNRESOLVED"], r"nobody_has_this"),
    (["NAME=NULL"], r"has no name"),
    (['NAME=""'], r"has no name"),
    (["START_FAILS=-77"], r"start\(\) of small returned -77"),
    (["START_FAILS=7"], r"start\(\) of small returned 7"),
], ids=["abi", "symbol", "unresolved", "null name", "empty name", "start", "positive"])
def test_refused_with_a_reason(defines, says):
    text = refused(module("small", *defines))
    assert re.search(says, text), text


#: Rows of a table, and what is said of each; all of them are told at once.
BAD_ROUTES = [
    ('{"GET", "no/slash", hello}', r'"no/slash" of small: '),
    ('{"GET", "/b/{", hello}', r'"/b/\{" of small: '),
    ('{"GET", "/c/*/d", hello}', r'"/c/\*/d" of small: '),
    ('{"GE T", "/e", hello}', r'"/e" of small: '),
    ('{"GET", "/", all}', r'"/" of small: .*GET'),
    ('{"GET", "/f/{x}", all}, {NULL, "/f/{y}", all}', r'"/f/\{y\}" of small: '),
    ('{"GET", NULL, hello}', r'"" of small: it has no pattern or no handler'),
    ('{"GET", "*", all}', r'"\*" of small: "\*" is for every method'),
    ('{NULL, "*", all}', r'"\*" of small: there can be one "\*" only'),
    ('{"GET", "/g", hello, .kind = 9}', r'"/g" of small: its kind is none of'),
    ('{"GET", "/h", hello, .body = 9}', r'"/h" of small: its body mode'),
    ('{"POST", "/i", hello, .body = CAPRI_BODY_STREAM}', r'"/i" of small: an inline handler gets'),
    ('{"GET", "/j", hello, .timeout_ms = 86400001}', r'"/j" of small: its timeout_ms is above'),
    ('{"GET", "/k", hello, .name = "\\001"}', r'"/k" of small: its name must be printable'),
]


def test_all_bad_routes_are_told():
    text = refused(module("small", "ROUTE=" + ", ".join(row for row, _ in BAD_ROUTES),
                          "CATCH_ALL"))
    for row, says in BAD_ROUTES:
        assert re.search(says, text), f"{row}\n{text}"


def test_no_threads_for_a_pool_route():
    text = refused(module("small", "KIND=CAPRI_POOL"), env={"THREAD_POOL_SIZE": 0})
    assert "needs threads, and THREAD_POOL_SIZE is 0" in text


def test_not_an_object(tmp_path):
    text = tmp_path / "text.so"
    text.write_text("This is no shared object.\n")
    assert "text.so" in refused(text)
    # Mapped as it is, it would be a SIGBUS of the dynamic loader.
    half = tmp_path / "half.so"
    with open(module("small"), "rb") as f:
        half.write_bytes(f.read(2000))
    assert "half.so cannot be loaded: the file is not whole" in refused(half)


def test_by_argument_environment_and_file(serve, tmp_path):
    so = module("small", to=str(tmp_path / "app.so"))
    other = module("small", "SYMBOL=other_one", 'TEXT="other"', to=str(tmp_path / "other.so"))
    for kw, want in (
            (dict(args=[so]), b"small"),
            (dict(args=[other + ":other_one"]), b"other"),
            (dict(args=["./app.so"], cwd=str(tmp_path)), b"small"),
            (dict(args=["./other.so:other_one"], cwd=str(tmp_path)), b"other"),
            # Relative to where the server was started, whatever CHDIR says.
            (dict(args=["--chdir", "/", "./app.so"], cwd=str(tmp_path)), b"small"),
            (dict(env={"CAPRICORN_APP": so}), b"small"),
            (dict(config=f"app: {other}:other_one\n", env={"STATUS_PREFIX": "/_capricorn"}),
             b"other")):
        s = serve(*kw.pop("args", []), workers=1, **kw)
        r = s.get("/")
        assert (r.status, r.body) == (200, want)
        assert s.get("/_capricorn/health").status == 200
        assert s.metrics().sum("capricorn_http_requests_total", route="/", code="200") == 1
        s.stop()


def test_check_config(tmp_path):
    so = module("small")
    assert run(so, "--check-config").returncode == 0
    for bad in (tmp_path / "none.so", tmp_path):
        r = run(f"{bad}/x.so" if bad == tmp_path else bad, "--check-config")
        assert r.returncode != 0
        assert "x.so" in r.stderr or "none.so" in r.stderr


def test_catch_all_and_its_place(serve):
    s = serve(module("small", "CATCH_ALL", 'ROUTE={"POST", "/only/post", hello}'), workers=1)
    assert s.get("/").body == b"small"
    assert s.get("/nothing/here").body == b"all"
    assert s.request("POST", "/only/post").body == b"small"
    assert s.get("/only/post").body == b"all"
    assert s.request("OPTIONS", "*").body == b"all"
    assert s.metrics().sum("capricorn_http_requests_total", route="everything") == 3


def test_more_routes_than_metrics_have_room_for(serve):
    s = serve(module("small", "MANY_ROUTES"), workers=1, env={"METRIC_ROUTES": 3})
    for path in ("/", "/m/1", "/m/2", "/m/3", "/m/4"):
        assert s.get(path).status == 200
    m = s.metrics()
    routes = {lb["route"]: v for lb, v in m.get("capricorn_http_requests_total")}
    assert sum(routes.values()) == 5
    assert routes["other"] >= 2
    assert len(routes) <= 4


def test_the_file_need_not_be_readable_for_long(serve, tmp_path):
    """A worker of the same generation starts from the sealed copy."""
    so = module("small", to=str(tmp_path / "app.so"))
    s = serve(so, workers=1)
    os.unlink(so)
    pid = s.worker_pids()[0]
    s.kill(signal.SIGKILL, pid)
    wait_until(lambda: _pids(s) not in ([], [pid]), what="another worker")
    assert s.get("/").body == b"small"


def _pids(s):
    try:
        return s.worker_pids()
    except (OSError, EOFError, AssertionError, ValueError):
        return []
