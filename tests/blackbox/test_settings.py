# SPDX-License-Identifier: MIT
"""Settings: what the program takes, what it refuses, and what it says about itself."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

import lib

TOP = pathlib.Path(lib.TOP)


def refused(*args, env=None, cwd=None):
    """The lines on standard error of a start that has to fail."""
    r = lib.run(*args, env=env, cwd=cwd)
    assert r.returncode == 1, (r.returncode, r.stdout, r.stderr)
    assert r.stdout == ""
    return r.stderr.splitlines()


def printed(*args, env=None, cwd=None):
    r = lib.run(*args, "--print-config", env=env, cwd=cwd)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


# ---- errors ----


def test_twenty_bad_settings(tmp_path):
    """All problems of all origins are told in one start, each with its place."""
    (tmp_path / "bad.yaml").write_text(
        "web_workers: none\n"               # 1
        "worker_timeout: 5 parsecs\n"       # 2
        "log_levle: info\n"                 # 3
        "backlog: 0\n"                      # 4
        "backlog: 5\n"                      # 5
        "alerts: {}\n"                      # 6
        "server_header: perhaps\n")         # 7
    (tmp_path / "bad.env").write_text(
        "MAX_REQUESTS=-5\n"                 # 8
        "no equals sign\n"                  # 9
        "CAPRICORN_BAKLOG=10\n")            # 10
    lines = refused(
        "-c", "bad.yaml", "--env-file", "bad.env",
        "--bind", "localhost",              # 15
        "--keep-alive", "1 minute",         # 16
        "--reload",                         # 17
        "--bidn", "127.0.0.1:1",            # 18
        "--log-level", "loud",              # 19
        "builtin:ehco",                     # 20
        env={"LIMIT_REQUEST_LINE": "1t",            # 11
             "ACCESS_LOG_FORMAT": "%(nonsense)s",   # 12
             "CAPRICORN_UMASK": "9",                # 13
             "STATUS_ALLOW": "everybody"},          # 14
        cwd=tmp_path)
    places = [r"bad\.yaml:1:14: web_workers: ", r"bad\.yaml:2:17: worker_timeout: ",
              r"bad\.yaml:3:1: .*did you mean log_level\?", r"bad\.yaml:4:10: backlog: ",
              r"bad\.yaml:5:1: backlog: .*twice.*line 4", r"bad\.yaml:6:1: .*alerts.*not built yet",
              r"bad\.yaml:7:16: server_header: ", r"bad\.env:1: MAX_REQUESTS: ", r"bad\.env:2: ",
              r"bad\.env:3: CAPRICORN_BAKLOG: .*did you mean CAPRICORN_BACKLOG\?",
              r"environment variable LIMIT_REQUEST_LINE: .*from 64 to 64k",
              r"environment variable ACCESS_LOG_FORMAT: .*unknown atom",
              r"environment variable CAPRICORN_UMASK: ", r"environment variable STATUS_ALLOW: ",
              r"flag --bind: ", r"flag --keep-alive: ", r"flag --reload: .*HUP",
              r"flag --bidn: .*did you mean --bind\?", r"flag --log-level: .*debug, info",
              r"argument APP: .*did you mean builtin:echo\?"]
    assert len(lines) == 20, "\n".join(lines)
    for place in places:
        assert sum(bool(re.match(place, line)) for line in lines) == 1, (place, "\n".join(lines))


@pytest.mark.parametrize("args, says", [
    (["-k", "gevent"], "flag -k: there is one kind of worker"),
    (["--worker-class=sync"], "flag --worker-class: there is one kind of worker"),
    (["--reuse-port"], "flag --reuse-port: "),
    (["--preload"], "flag --preload: "),
    (["--reload"], "flag --reload: send HUP"),
    (["-D"], "flag -D: the server stays in the foreground"),
    (["--worker-tmp-dir", "/dev/shm"], "flag --worker-tmp-dir: workers beat in shared memory"),
    (["--certfile", "x.pem"], "flag --certfile: TLS is not spoken here"),
    (["--log-config", "log.ini"], "flag --log-config: see --log-level"),
    (["--log-syslog-to", "udp://localhost"], "flag --log-syslog-to: log to standard error"),
    (["--capture-output"], "flag --capture-output: "),
    (["--statsd-host", "localhost:8125"], "flag --statsd-host: GET /metrics"),
    (["-e", "A=b"], "flag -e: set it in the environment"),
    (["-c", "gunicorn.conf.py"], "flag -c: gunicorn.conf.py is Python"),
    (["./app.so"], "argument APP: cannot read the module ./app.so: there is no such file in /"),
    (["./app.so:"], 'argument APP: "./app.so:" has no symbol after the colon'),
    (["/dev/null:x"], "argument APP: cannot read the module /dev/null: it is not a regular file"),
    (["./app.py"], 'argument APP: "./app.py" is Python, which is not built yet'),
    (["http://127.0.0.1:9000"], "not built yet"),
    (["package.module:app"], "Python application, which is not built yet"),
    (["--retry-count", "4"], "flag --retry-count: RETRY_COUNT is not built yet"),
    (["-c", "missing.yaml"], "flag -c: cannot read missing.yaml: No such file"),
])
def test_one_line_says_what_to_do(args, says):
    lines = refused(*args)
    assert len(lines) == 1
    assert says in lines[0]


def test_section_of_the_module(tmp_path):
    """It is shown with its place, wrong ones are told, and a built-in app does without it."""
    (tmp_path / "app.so").write_bytes(b"x")
    (tmp_path / "m.yaml").write_text(
        "app: ./app.so\nmodule:\n  database: {port: 5432, host: 'db'}\n  z: [1.5, yes, ~]\n")
    doc = printed("-c", "m.yaml", cwd=tmp_path)
    assert doc["module"] == {
        "value": {"database": {"port": 5432, "host": "db"}, "z": [1.5, "yes", None]},
        "origin": "file", "place": "m.yaml:3:3: module", "takes_effect": "reload"}
    assert doc["app"]["value"] == "./app.so" and doc["app"]["takes_effect"] == "reload"
    assert doc["status_prefix"]["value"] == "/_capricorn"
    r = lib.run("-c", "m.yaml", "--check-config", "builtin:echo", cwd=tmp_path)
    assert r.returncode == 0
    assert "m.yaml:3:3: module: is not used, since APP is builtin:echo and no module\n" in r.stderr
    assert printed(cwd=tmp_path)["module"]["value"] == {}
    (tmp_path / "m.yaml").write_text("module:\n  a: {b: !x 1, b: 2}\n  c: &y [*y]\n")
    assert refused("-c", "m.yaml", cwd=tmp_path) == [
        "m.yaml:2:10: module.a.b: has a tag (!) or an anchor (&), which means nothing here",
        "m.yaml:2:16: module.a.b: is given twice",
        "m.yaml:3:6: module.c.0: is used by an alias (*), which means nothing here"]


def test_gunicorn_cmd_args():
    lines = refused(env={"GUNICORN_CMD_ARGS": "--workers=4"})
    assert len(lines) == 1 and lines[0].startswith("environment variable GUNICORN_CMD_ARGS: ")


def test_unreadable_file():
    """Root reads everything: then the program is started as nobody."""
    with tempfile.TemporaryDirectory(prefix="capricorn-test-") as tmp:
        os.chmod(tmp, 0o755)
        path = pathlib.Path(tmp, "capricorn.yaml")
        path.write_text("backlog: 1\n", encoding="ascii")
        path.chmod(0)
        try:
            r = subprocess.run([lib.BINARY], env=lib.clean_env(), cwd=tmp, capture_output=True,
                               text=True, timeout=20, check=False,
                               user=65534 if os.getuid() == 0 else None)
        except PermissionError:
            pytest.skip("the program lies where nobody cannot reach it")
    assert r.returncode == 1
    assert r.stderr == "./capricorn.yaml: cannot read capricorn.yaml: Permission denied\n"


def test_secrets_are_not_shown(tmp_path):
    (tmp_path / "s.yaml").write_text("admin_token: very secret!\n")
    lines = refused("-c", "s.yaml", cwd=tmp_path)
    assert "very" not in lines[0]
    doc = printed(env={"ADMIN_TOKEN": "very-secret"})
    assert "very-secret" not in json.dumps(doc)


# ---- what it says about itself ----


def test_help_version_and_check():
    r = lib.run("--help")
    assert r.returncode == 0 and r.stderr == ""
    for word in ("--workers", "-w", "WEB_WORKERS", "--bind", "CAPRICORN_USER", "not built yet"):
        assert word in r.stdout
    r = lib.run("--version")
    assert r.returncode == 0
    assert re.fullmatch(r"capricorn \d+\.\d+\.\d+\S*\n", r.stdout)
    r = lib.run("--check-config", env={"WEB_WORKERS": "3"})
    assert r.returncode == 0
    bill = {name: int(n) for name, n in re.findall(r"^  (\w+) +(\d+)$", r.stdout, re.M)}
    assert bill["total"] == sum(n for name, n in bill.items() if name != "total") > 0
    assert refused("--check-config", env={"WEB_WORKERS": "x"})


def test_bill_is_within_its_bound():
    """But for the cache at most 24 MB at 9 workers x 1000 connections and 80 MB at 32 x 2000."""
    for workers, connections, bound in ((9, 1000, 24), (32, 2000, 80)):
        r = lib.run("--check-config", "-w", workers, "--worker-connections", connections,
                    env={"CACHE_MEMORY": "0"})
        total = int(re.search(r"^  total +(\d+)$", r.stdout, re.M).group(1))
        assert total <= bound * 1000 * 1000


def test_print_config_names_origins(tmp_path):
    (tmp_path / "capricorn.yaml").write_text("backlog: 100\nname: file\nweb_workers: 2\n")
    (tmp_path / "x.env").write_text("WEB_WORKERS=3\nCAPRICORN_NAME=envfile\n")
    doc = printed("--env-file", "x.env", "--timeout", "1m", cwd=tmp_path,
                  env={"WEB_WORKERS": "4"})
    got = {k: (doc[k]["value"], doc[k]["origin"]) for k in
           ("backlog", "name", "web_workers", "worker_timeout", "request_timeout", "log_level")}
    assert got == {"backlog": (100, "file"), "name": ("envfile", "env-file"),
                   "web_workers": (4, "environment"), "worker_timeout": (60, "flag"),
                   "request_timeout": (60, "default"), "log_level": ("info", "default")}
    assert doc["backlog"]["place"] == "capricorn.yaml:1:10: backlog"


def test_workers_follow_affinity(tmp_path):
    """CPUs x 2 + 1, of those that this process may use."""
    if not shutil.which("taskset"):
        pytest.skip("no taskset")
    cpu = min(os.sched_getaffinity(0))
    r = subprocess.run(["taskset", "-c", str(cpu), lib.BINARY, "--print-config"],
                       env=lib.clean_env(), cwd=tmp_path, capture_output=True, text=True,
                       check=True)
    doc = json.loads(r.stdout)
    assert doc["web_workers"]["value"] == 3
    assert doc["workers_min"]["value"] == 3
    assert doc["workers_max"]["value"] == 16


# ---- documents ----


@pytest.mark.parametrize("name, path", [
    ("settings-md", "docs/SETTINGS.md"), ("man8", "docs/man/capricorn.8"),
    ("man5", "docs/man/capricorn.yaml.5"), ("sample", "etc/capricorn.yaml"),
])
def test_documents_are_not_stale(name, path):
    r = lib.run("--print-doc", name)
    assert r.returncode == 0
    assert r.stdout == (TOP / path).read_text(encoding="utf-8"), f"{path}: run ./dev docs"


def test_unknown_document():
    assert refused("--print-doc", "nonsense") == [
        "capricorn: --print-doc: there is no document named nonsense"]


def test_sample_file_is_good():
    r = lib.run("-c", TOP / "etc/capricorn.yaml", "--check-config")
    assert r.returncode == 0, r.stderr


def test_man_pages_render():
    if not shutil.which("man"):
        pytest.skip("no man")
    for page in ("capricorn.8", "capricorn.yaml.5"):
        r = subprocess.run(["man", "--warnings", "-l", TOP / "docs/man" / page],
                           capture_output=True, text=True, check=False,
                           env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100"})
        assert r.returncode == 0 and r.stderr == "", r.stderr
        assert "web_workers" in r.stdout.lower()


# ---- in a running server ----


def test_settings_from_all_origins_serve(serve):
    s = serve("--server-header=off", workers=None, config="web_workers: 3\nkeepalive_timeout: 5s\n",
              env={"CAPRICORN_WEB_WORKERS": "2"})
    s.wait_ready(2)
    assert len(s.worker_pids()) == 2
    assert s.get("/").header("server") is None
    assert s.log_lines("Configuration file: ")


def test_port_alone_means_all_addresses(serve):
    s = serve(bind=None, env={"PORT": "0"}, wait=False)
    s.wait_listening()
    assert s.urls[0].startswith("http://0.0.0.0:")
    s.wait_ready()


def test_env_file_is_read_again_at_reload(serve, tmp_path):
    path = tmp_path / "tune.env"
    path.write_text("SERVER_HEADER=on\n")
    s = serve("--env-file", "tune.env", cwd=str(tmp_path))
    assert s.get("/").header("server")
    path.write_text("SERVER_HEADER=off\n")
    s.kill(signal.SIGHUP)
    lib.wait_until(lambda: s.get("/").header("server") is None, 15, "the new settings")


def test_boot_settings_stay_at_reload(serve):
    s = serve(config="backlog: 100\n", env={"CAPRICORN_NAME": "one"})
    s.write_config("backlog: 200\nlog_level: debug\n")
    s.kill(signal.SIGHUP)
    s.wait_log(r"BACKLOG: 200 instead of 100 needs a restart or an upgrade")
    assert s.get("/health").status == 200


def test_bad_file_changes_nothing_at_reload(serve):
    s = serve(config="web_workers: 2\n", workers=None, env={"WEB_WORKERS": ""})
    s.wait_ready(2)
    before = s.worker_pids()
    s.write_config("web_workers: 0\nnonsense: 1\n")
    s.kill(signal.SIGHUP)
    s.wait_log(r"capricorn\.yaml:1:14: web_workers: \"0\"")
    s.wait_log(r"capricorn\.yaml:2:1: the key \"nonsense\" is unknown")
    assert s.worker_pids() == before
