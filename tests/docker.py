#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Builds the image and looks at it as its users will: run, asked, reloaded, hurt and stopped, by
`docker run` and by compose. The last line is "N passed, N failed"; 77 when no engine runs.

Everything is made under a name of this run's own and removed at the end, the images too: --keep
keeps those, so that the next build finds its layers.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "blackbox"))

from lib import RawClient, wait_until  # noqa: E402 (found by the line above)
from load import Load  # noqa: E402

NAME = f"capricorn-test-{os.getpid()}"
TOKEN = "docker-test"
#: What the compose file asks for, beside what is the same for `docker run`.
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"]


def execute(*argv, check=True, **kw):
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False, **kw)
    if check and r.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {r.returncode}\n{r.stdout[-8000:]}")
    return r


def docker(*argv, **kw):
    return execute("docker", *argv, **kw).stdout.strip()


class Container:
    """A container and what the host sees of it."""

    def __init__(self, cid):
        self.id = cid

    @classmethod
    def run(cls, *options, env=None, image=NAME):
        """`docker run` with a port of the engine's choice and a health check each second."""
        settings = {"ADMIN_TOKEN": TOKEN, **(env or {})}
        return cls(docker("run", "--detach", "--label", NAME, "--publish", "127.0.0.1::8000",
                          "--health-interval", "1s", *options,
                          *[f"--env={k}={v}" for k, v in settings.items()], image))

    def inspect(self):
        return json.loads(docker("inspect", self.id))[0]

    def log(self):
        return docker("logs", self.id)

    def exec(self, *argv, check=True, options=()):
        return execute("docker", "exec", *options, self.id, *argv, check=check)

    @property
    def health(self):
        state = self.inspect()["State"]
        if not state["Running"]:
            raise AssertionError(f"it has ended with {state['ExitCode']}:\n{self.log()}")
        return state["Health"]["Status"]

    def wait_health(self, word="healthy", seconds=60):
        wait_until(lambda: self.health == word, seconds, interval=0.2, what=lambda:
                   f"{word}: {self.inspect()['State']}\n{self.log()[-4000:]}")
        return self

    @property
    def address(self):
        port = self.inspect()["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"]
        return "127.0.0.1", int(port)

    def request(self, method, path, **kw):
        with RawClient(self.address, timeout=20) as c:
            return c.request(method, path, close=True, **kw)

    def status(self):
        r = self.request("GET", "/status", headers={"Authorization": f"Bearer {TOKEN}"})
        assert r.status == 200, r
        return r.json()

    def workers(self, state="ready"):
        return [w for w in self.status()["workers"] if w["state"] == state]

    def stop(self, *command):
        """Stops it while a request is running, which is to be answered; the seconds it took."""
        with RawClient(self.address, timeout=60) as c:
            c.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
            wait_until(lambda: any(w["in_flight"] for w in self.workers()), what="the request")
            begin = time.monotonic()
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as p:
                wait_until(lambda: "Handling signal: TERM" in self.log(), 20,
                           lambda: "the stop in the log:\n" + self.log())
                c.send("cd")
                r = c.response("POST")
                assert (r.status, r.body) == (200, b"abcd"), r
                assert p.wait(60) == 0
        state = self.inspect()["State"]
        assert not state["Running"] and state["ExitCode"] == 0, (state, self.log())
        assert not state["OOMKilled"]
        return time.monotonic() - begin

    def remove(self):
        docker("rm", "--force", "--volumes", self.id)


# ---- the image ----

def check_dockerfile(_):
    with open(os.path.join(TOP, "Dockerfile"), encoding="utf-8") as f:
        stages = [line.split()[1] for line in f if line.startswith("FROM ")]
    assert len(stages) >= 2 and set(stages) == {"debian:bookworm-slim"}, stages


def check_image(_):
    config = json.loads(docker("image", "inspect", NAME))[0]["Config"]
    assert config["User"] not in ("", "0", "root", "0:0"), config["User"]
    assert config["Healthcheck"]["Test"] == ["CMD", "capricorn", "--health"]
    assert config["Entrypoint"] == ["capricorn"] and "8000/tcp" in config["ExposedPorts"]
    r = execute("docker", "run", "--rm", "--label", NAME, "--entrypoint", "sh", NAME, "-c",
                "command -v curl wget python3 gcc; ls /var/lib/apt/lists", check=False)
    assert r.stdout == "", r.stdout


# ---- docker run ----

def check_plain(run):
    """No option at all but the port: 64 MB of /dev/shm, the image's settings."""
    c = run().wait_health()
    assert c.inspect()["HostConfig"]["ShmSize"] == 64 << 20
    assert c.request("POST", "/echo", body=b"hi").body == b"hi"
    assert c.request("GET", "/health").json()["status"] == "healthy"
    assert c.request("GET", "/readyz").status == 200
    said = c.exec("capricorn", "--health").stdout
    assert said == "http://127.0.0.1:8000/health: healthy\n", said


def check_pid_1(run):
    c = run().wait_health()
    fields = dict(line.split(":\t", 1) for line in
                  c.exec("cat", "/proc/1/status").stdout.splitlines() if ":\t" in line)
    assert fields["Name"] == "capricorn" and fields["Uid"].split() == ["10001"] * 4, fields
    # An orphan of whatever runs in there becomes PID 1's child; it is not left as a zombie.
    c.exec("sh", "-c", "(sleep 0.2 & echo $!) ; true")
    wait_until(lambda: "sleep" not in c.exec(
        "sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null; true").stdout, 10, "the orphan's end")
    zombies = c.exec("sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null; true")
    assert zombies.stdout == "", zombies.stdout


def check_read_only(run):
    c = run(*HARDENED).wait_health()
    assert c.exec("touch", "/app/x", check=False).returncode != 0
    assert not docker("diff", c.id)


def check_many_workers(run):
    """As many as a machine of 20 CPUs would have by default: they fit into 64 MB, too."""
    c = run(env={"WEB_WORKERS": "41"}).wait_health()
    wait_until(lambda: len(c.workers()) == 41, 30, "41 workers")
    assert "WORKERS_MAX: 82 do not fit" in c.log()


def check_app(run):
    """Another app, by environment: the health check finds its prefix."""
    c = run(env={"CAPRICORN_APP": "builtin:hello"}).wait_health()
    assert c.request("GET", "/").body == b"Hello, World!"
    assert "/_capricorn/health: healthy" in c.exec("capricorn", "--health").stdout


def check_module(run):
    """A module that a build stage compiles, as docs/DOCKER.md says."""
    dockerfile = (f"FROM {NAME}-build AS build\n"
                  "RUN gcc -O2 -fPIC -shared -I /out/usr/local/include -o /app.so "
                  "/src/examples/hello/hello.c\n"
                  f"FROM {NAME}\nCOPY --from=build /app.so /app/\n"
                  "ENV CAPRICORN_APP=/app/app.so\n")
    with tempfile.TemporaryDirectory(prefix="capricorn-test-") as tmp:
        with open(os.path.join(tmp, "Dockerfile"), "w", encoding="utf-8") as f:
            f.write(dockerfile)
        build_stages(tmp, NAME + "-module")
    c = run(*HARDENED, image=NAME + "-module").wait_health()
    assert c.request("GET", "/").body == b"Hello, World!"
    docker("kill", "--signal", "HUP", c.id)
    wait_until(lambda: "generation 2 serves" in c.log(), 30, c.log)
    assert c.request("GET", "/").body == b"Hello, World!"
    c.wait_health()


def check_health_fails(run):
    c = run("--health-retries", "1", env={"WEB_WORKERS": "1"}).wait_health()
    r = c.exec("capricorn", "--health", check=False, options=["--env", "BIND=127.0.0.1:9"])
    assert r.returncode == 1 and "refused" in r.stdout, r
    pid = str(c.workers()[0]["pid"])
    c.exec("sh", "-c", f"kill -STOP {pid}")
    c.wait_health("unhealthy")
    c.exec("sh", "-c", f"kill -CONT {pid}")
    c.wait_health("healthy")


def check_kill_worker(run):
    c = run(env={"WEB_WORKERS": "2"}).wait_health()
    for _ in range(20):
        c.request("POST", "/echo", body=b"x")
    before = c.status()
    pid = before["workers"][0]["pid"]
    c.exec("sh", "-c", f"kill -9 {pid}")
    wait_until(lambda: len(c.workers()) == 2 and pid not in [w["pid"] for w in c.workers()], 20,
               "another worker")
    assert c.status()["exits"][0]["reason"] == "killed"
    c.wait_health()


def check_stop(run):
    """`docker stop` gives 10 s; a running request is finished, and nobody has to be killed."""
    c = run().wait_health()
    assert c.stop("docker", "stop", c.id) < 9


def check_bad_setting(run):
    c = run(env={"WEB_WORKERS": "lots"})
    wait_until(lambda: not c.inspect()["State"]["Running"], 20, "the end")
    assert c.inspect()["State"]["ExitCode"] == 1 and "WEB_WORKERS" in c.log()


# ---- compose ----

def compose_command():
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if execute("docker", "compose", "version", check=False).returncode == 0:
        return ["docker", "compose"]
    return None


class Project:
    """compose.yaml as it is, with the image of this run and a token to read /status with."""

    def __init__(self, command):
        self.tmp = tempfile.mkdtemp(prefix="capricorn-test-")
        override = os.path.join(self.tmp, "override.yaml")
        with open(override, "w", encoding="utf-8") as f:
            f.write(f"services:\n  capricorn:\n    image: {NAME}\n    labels: [{NAME}]\n"
                    f"    environment: {{ADMIN_TOKEN: {TOKEN}}}\n")
        self.command = [*command, "-p", NAME, "--project-directory", TOP,
                        "-f", self._file(), "-f", override]

    def _file(self):
        """The file itself; a copy with a port of the engine's choice where 8000 is in use."""
        path = os.path.join(TOP, "compose.yaml")
        self.port = "8000"
        try:
            socket.create_server(("", 8000)).close()
        except OSError:
            print("     port 8000 is in use here: compose gets another one", flush=True)
            self.port = None
            with open(path, encoding="utf-8") as f:
                text = f.read()
            assert '"8000:8000"' in text
            path = os.path.join(self.tmp, "compose.yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(text.replace('"8000:8000"', '"8000"'))
        return path

    def __call__(self, *argv):
        return execute(*self.command, *argv, cwd=TOP).stdout

    def up(self):
        self("up", "-d", "--no-build")
        return Container(self("ps", "-q").split()[-1])

    def remove(self):
        execute(*self.command, "down", "--volumes", check=False, cwd=TOP)
        shutil.rmtree(self.tmp)


def check_compose_settings(project, c):
    host = c.inspect()["HostConfig"]
    published = host["PortBindings"]["8000/tcp"][0]["HostPort"]
    assert published == (project.port or published), host["PortBindings"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host.get("Init")
    assert host["NanoCpus"] == 2 * 10**9 and host["Memory"] > 0, host
    assert host["Ulimits"][0]["Name"] == "nofile"
    env = c.inspect()["Config"]["Env"]
    for setting in ("BIND=0.0.0.0:8000", "WEB_WORKERS=8", "WORKER_CONNECTIONS=1000",
                    "WORKER_TIMEOUT=120", "BACKLOG=2048", "MAX_REQUESTS=1000", "LOG_LEVEL=info"):
        assert setting in env, setting
    assert len(c.workers()) == 8
    assert c.exec("sh", "-c", "cat /proc/1/limits | grep 'open files'").stdout.split()[3] == "16384"
    assert c.request("GET", "/health").json()["status"] == "healthy"
    assert "lowered" not in c.log()


def check_compose_reload(project, c):
    with Load(c, "/readyz") as load:
        wait_until(lambda: load.ok > 50, 20, "requests")
        for generation in 2, 3:
            project("kill", "-s", "HUP")
            wait_until(lambda g=generation: {w["generation"] for w in c.status()["workers"]} == {g},
                       60, lambda: f"generation {generation}:\n{c.log()[-4000:]}")
        so_far = load.ok
        wait_until(lambda: load.ok > so_far + 50, 20, "requests after the reloads")
    assert not load.failed, load.failed[:5]
    assert len(c.workers()) == 8
    c.wait_health()


def check_compose_stop(project, c):
    took = c.stop(*project.command, "stop")
    assert took < c.inspect()["Config"].get("StopTimeout", 40) - 5, took


def check_compose_down(project, c):
    project("down")
    assert execute("docker", "inspect", c.id, check=False).returncode != 0
    assert not docker("network", "ls", "-q", "--filter", f"label=com.docker.compose.project={NAME}")


# ---- running it all ----

class Tally:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, function, *args):
        begin = time.monotonic()
        try:
            function(*args)
        except Exception:  # whatever it is, the others still run
            self.failed += 1
            print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
            return False
        self.passed += 1
        print(f"ok   {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        return True


def build_stages(directory, name):
    """Both stages have a name, so that they can be removed."""
    docker("build", "--target", "build", "--tag", name + "-build", directory)
    docker("build", "--tag", name, directory)


def build(image):
    if image:
        docker("tag", image, NAME)
        docker("tag", image + "-build", NAME + "-build")
        return
    build_stages(TOP, NAME)


def test_run(tally):
    for name, check in sorted(globals().items(), key=lambda kv: getattr(
            kv[1], "__code__", check_image.__code__).co_firstlineno):
        if not name.startswith("check_") or name.startswith("check_compose"):
            continue
        made = []

        def run(*options, **kw):
            made.append(Container.run(*options, **kw))
            return made[-1]

        tally.check(name[len("check_"):], check, run)
        for c in made:
            c.remove()


def test_compose(tally):
    command = compose_command()
    if not command:
        print("skip compose: neither docker-compose nor docker compose is installed", flush=True)
        return
    project = Project(command)
    try:
        made = []
        if tally.check("compose up", lambda: made.append(project.up().wait_health())):
            for check in (check_compose_settings, check_compose_reload, check_compose_stop,
                          check_compose_down):
                tally.check(check.__name__[len("check_"):].replace("_", " "), check, project,
                            made[0])
    finally:
        project.remove()


def clean_up(keep):
    left = docker("ps", "-aq", "--filter", f"label={NAME}").split()
    if left:
        docker("rm", "--force", "--volumes", *left)
    for name in [NAME + "-module"] + ([] if keep else [NAME]):
        execute("docker", "rmi", name, name + "-build", check=False)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--keep", action="store_true", help="keep the images")
    ap.add_argument("--image", help="look at this image instead of building one; it and "
                    "IMAGE-build are what --keep has left")
    args = ap.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that it is cleaned up
    r = execute("docker", "info", check=False) if shutil.which("docker") else None
    if r is None or r.returncode != 0:
        why = r.stdout.strip().splitlines()[-1] if r else "docker is not installed"
        print(f"skipped: no container engine is running here ({why})")
        return 77
    tally = Tally()
    try:
        if tally.check("build", build, args.image):
            test_run(tally)
            test_compose(tally)
    finally:
        clean_up(args.keep)
    print(f"{tally.passed} passed, {tally.failed} failed", flush=True)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
