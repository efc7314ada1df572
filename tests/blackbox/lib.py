# SPDX-License-Identifier: MIT
"""The actors of the black-box tests: a server, a client over raw sockets, and readers of /status
and /metrics.

Nothing here sleeps and hopes: every wait is for a condition and has a deadline. A server runs in a
directory and an environment of its own, on port 0, with a segment named by the test; when it is
stopped, nothing of it may be left: no process, no segment, no report of a sanitizer in its log.
"""
import contextlib
import fcntl
import glob
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("CAPRICORN_BINARY") or os.path.join(TOP, "build", "plain", "capricorn")
SANITIZED = os.environ.get("CAPRICORN_SANITIZED") == "1"
#: Deadlines are for a quiet machine; this is what they are multiplied with.
PATIENCE = (3 if SANITIZED else 1) * float(os.environ.get("CAPRICORN_PATIENCE", "1"))

_numbers = itertools.count(1)


def wait_until(condition, seconds=10, what="a condition", interval=0.01):
    """Returns the first true value of condition(); fails after the deadline, telling `what` (a text
    or a function that returns one). It looks less often by and by: looking costs the server, and all
    that runs beside it."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            what = what() if callable(what) else what
            raise AssertionError(f"waited {seconds * PATIENCE:.0f} s in vain for {what}")
        time.sleep(interval)
        interval = max(interval, min(interval * 1.2, 0.04))


def alive(pid):
    """Is there such a process, and is it more than a zombie?"""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(p) for p in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def session_members(sid):
    """Processes of a session that are not zombies."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, "rb") as f:
                rest = f.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(rest[3]) == sid and rest[0] not in (b"Z", b"X"):
            found.append(int(path.split("/")[2]))
    return found


def run(*args, env=None, cwd=None, timeout=20):
    """Runs the program to its end (--help, --check-config, a bad setting); a CompletedProcess with
    text output."""
    with tempfile.TemporaryDirectory(prefix="capricorn-test-") as tmp:
        return subprocess.run([BINARY, *map(str, args)], env=clean_env(env), cwd=cwd or tmp,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout * PATIENCE, check=False)


#: The leak check at the exit of many processes at once hangs now and then (the sanitizer's tracer,
#: not we). Unit tests, corpora and the smoke tests look for leaks.
NO_LEAK_CHECK = "detect_stack_use_after_return=1:strict_string_checks=1:detect_leaks=0"
LEAK_CHECK = NO_LEAK_CHECK.replace("detect_leaks=0", "detect_leaks=1")


def clean_env(extra=None):
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C", "TZ": "UTC",
           "ASAN_OPTIONS": NO_LEAK_CHECK,
           "UBSAN_OPTIONS": "print_stacktrace=1"}
    env.update({k: str(v) for k, v in (extra or {}).items()})
    return env


def shm_is_small():
    """A container has 64 MB of /dev/shm unless it was told otherwise."""
    shm = os.statvfs("/dev/shm")
    return shm.f_blocks * shm.f_frsize < 256 << 20


@contextlib.contextmanager
def room_in_shm(needed):
    """Where /dev/shm is small, servers of other lanes may have it all for a moment: waits until there
    is room, and lets nobody else start a server in the meantime."""
    if not shm_is_small():
        yield
        return
    with open(os.path.join(tempfile.gettempdir(), "capricorn-test.lock"), "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            shm = os.statvfs("/dev/shm")
            if shm.f_bavail * shm.f_frsize >= needed:
                break
            time.sleep(0.05)
        yield


class Server:
    """The real program in a directory of its own.

        with Server("builtin:echo", workers=2, env={"KEEPALIVE_TIMEOUT": "1s"}) as s:
            assert s.get("/").status == 200

    `args` are appended to the command line. `bind` None leaves BIND to args, env or config; `shm`
    None leaves SHM_NAME to the program. `config` is the text of a configuration file. `wait` False
    returns right after the start.
    """

    def __init__(self, *args, workers=2, env=None, config=None, bind="127.0.0.1:0", shm=True,
                 wait=True, preexec=None, cwd=None, pass_fds=(), stderr=None):
        self.tmp = tempfile.mkdtemp(prefix="capricorn-test-")
        self.cwd = cwd or self.tmp
        self.log_path = os.path.join(self.tmp, "stderr.log")
        self.env = clean_env()
        if workers is not None:
            self.env["WEB_WORKERS"] = str(workers)
        self.shm_name = None
        if shm:
            self.shm_name = shm if isinstance(shm, str) else \
                f"/capricorn-test-{os.getpid()}-{next(_numbers)}"
            self.env["SHM_NAME"] = self.shm_name
        self.env.update({k: str(v) for k, v in (env or {}).items()})
        if "cache_memory" not in (config or "") and preexec is None:
            self.env.setdefault("CACHE_MEMORY", "1m")  # not 64m for each of them
        small = not any("worker" in str(a) or a == "-w" for a in [config or "", *args])
        if small and shm_is_small():
            self._be_small(workers or 1)
        self.argv = [BINARY]
        self.config_path = os.path.join(self.tmp, "capricorn.yaml")
        if config is not None:
            self.write_config(config)
            self.argv += ["-c", self.config_path]
        if bind is not None:
            self.argv += ["--bind", bind]
        self.argv += [str(a) for a in args]
        self.workers_wanted = workers
        self.returncode = None
        self._log_end = None
        self._expect_crash = False
        self._gone = False
        with open(self.log_path, "ab") as log, room_in_shm(self._shm_bytes(small)):
            self.process = subprocess.Popen(
                self.argv, env=self.env, cwd=self.cwd, stdin=subprocess.DEVNULL,
                stdout=log, stderr=stderr if stderr is not None else log,
                start_new_session=True, preexec_fn=preexec, pass_fds=pass_fds)
            self.pid = self.process.pid
            self._wait_segment()
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.destroy()
                print(self.log())
                raise

    def _be_small(self, workers):
        if not any(n.startswith("WORKERS_M") for n in self.env):
            self.env["WORKERS_MAX"] = str(workers + 3)
        self.env.setdefault("WORKER_CONNECTIONS", "256")
        self.env.setdefault("METRIC_ROUTES", "8")

    def _shm_bytes(self, small):
        """About what it takes of /dev/shm."""
        cache = re.fullmatch(r"(\d+)m", self.env.get("CACHE_MEMORY", "8m"))
        return (7 << 20 if small else 23 << 20) + (int(cache[1]) << 20 if cache else 0)

    def _wait_segment(self):
        """Until it has taken its room in /dev/shm: it listens after that."""
        deadline = time.monotonic() + 3
        while shm_is_small() and time.monotonic() < deadline and not self.urls and \
                self.process.poll() is None:
            time.sleep(0.005)

    # ---- its files ----

    def write_config(self, text):
        with open(self.config_path, "w", encoding="utf-8") as f:
            f.write(text)

    def log(self):
        """Standard output and error so far (or at the end, when it has been cleaned up)."""
        if self._log_end is not None:
            return self._log_end
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def log_lines(self, pattern):
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def wait_log(self, pattern, seconds=10, count=1):
        """The match of `pattern` in the log, once it is there `count` times."""
        def find():
            found = list(re.finditer(pattern, self.log(), re.M))
            return found[-1] if len(found) >= count else None
        return wait_until(find, seconds, lambda: f"{pattern!r} in the log:\n{self.log()}")

    # ---- where it is ----

    @property
    def urls(self):
        """What it says that it listens at."""
        return re.findall(r"Listening at: (\S+)", self.log())

    @property
    def address(self):
        """(host, port) or the path of a unix socket, of the first listener."""
        return parse_url(self.urls[0])

    @property
    def port(self):
        return self.address[1]

    @property
    def url(self):
        return "http://%s:%d" % self.address

    def wait_listening(self, seconds=10):
        def listening():
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}:\n{self.log()}")
            return self.urls
        return wait_until(listening, seconds, "the listening line")

    def wait_ready(self, workers=None, seconds=15):
        """Until `workers` (default: as many as were asked for) are ready and it answers."""
        want = workers if workers is not None else self.workers_wanted or 1
        self.wait_listening(seconds)

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}:\n{self.log()}")
            try:
                st = self.status()
            except (OSError, ValueError, AssertionError):
                return False
            # A worker may say that it is ready before the master has heard of it.
            return sum(w["state"] == "ready" for w in st["workers"]) >= want and \
                st["keeper"] and st["master"]["state"] != "booting"
        return wait_until(ready, seconds, lambda: f"{want} ready workers:\n{self.log()}")

    # ---- asking it ----

    def connect(self, **kw):
        return RawClient(self.address, **kw)

    def request(self, method, path, headers=None, body=b"", **kw):
        with self.connect(**kw) as c:
            return c.request(method, path, headers, body, close=True)

    def get(self, path, headers=None, **kw):
        return self.request("GET", path, headers, **kw)

    @property
    def prefix(self):
        """Where the built-in paths are."""
        prefix = self.env.get("STATUS_PREFIX")
        if prefix is not None:
            return prefix
        apps = [a for a in self.argv[1:] if a.startswith(("builtin:", "./", "/"))
                and a != self.config_path]
        app = apps[-1] if apps else self.env.get("CAPRICORN_APP", "builtin:api")
        return "" if app == "builtin:api" else "/_capricorn"

    def status(self):
        r = self.get(self.prefix + "/status", timeout=5)
        assert r.status == 200, f"/status: {r.status} {r.body[:500]!r}"
        return json.loads(r.body)

    def metrics(self):
        r = self.get(self.prefix + "/metrics", timeout=5)
        assert r.status == 200, f"/metrics: {r.status} {r.body[:500]!r}"
        return Metrics(r.body.decode())

    def worker_pids(self, state="ready"):
        """Pids of the workers in that state (None: all), by slot."""
        rows = sorted(self.status()["workers"], key=lambda w: w["slot"])
        return [w["pid"] for w in rows if state is None or w["state"] == state]

    def keeper_pid(self):
        """None while there is no keeper: one has died, and the next one is on its way."""
        return (self.status()["keeper"] or {}).get("pid")

    # ---- doing something to it ----

    def kill(self, sig, pid=None):
        os.kill(pid or self.pid, sig)

    def wait_exit(self, seconds=20):
        """The exit code; negative for a signal."""
        try:
            self.returncode = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.log()}") from None
        return self.returncode

    def stop(self, sig=signal.SIGTERM, seconds=20):
        """Stops it and checks what it left; returns its exit code."""
        if self.process.poll() is None:
            for pid in [self.pid, *children(self.pid)]:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass
            self.kill(sig)
        code = self.wait_exit(seconds)
        self.check_left()
        return code

    def expect_crash(self):
        """The test makes a process of it crash: its log may say so."""
        self._expect_crash = True

    def shm_files(self):
        """Segments of this server in /dev/shm."""
        names = os.listdir("/dev/shm")
        if self.shm_name:
            return [n for n in names if n == self.shm_name.lstrip("/")]
        return [n for n in names if n.startswith("capricorn-") and n.endswith(f"-{self.pid}")]

    def check_left(self):
        """Asserts that the server is gone without a trace."""
        wait_until(lambda: not session_members(self.pid), 10,
                   lambda: f"the end of all processes of session {self.pid}:\n{self.log()}")
        self._gone = True
        assert not self.shm_files(), f"left in /dev/shm: {self.shm_files()}"
        self.check_log()

    def check_log(self):
        if self._expect_crash:
            return
        bad = re.findall(r"^.*(?:Sanitizer|runtime error:|check failed:).*$", self.log(), re.M)
        assert not bad, "in the log: " + "\n".join(bad) + "\n" + self.log()[-8000:]

    def destroy(self):
        """Ends everything of it by pid, whatever state it is in, and removes its files."""
        if self._log_end is not None:
            return
        # Never a pid that is no longer its own: by now it may be that of somebody else's server.
        if self.process.poll() is None:
            self.process.kill()
        if not self._gone:
            for pid in session_members(self.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
            wait_until(lambda: not session_members(self.pid), 10, "the end of killed processes")
        for name in self.shm_files():
            os.unlink("/dev/shm/" + name)
        self._log_end = self.log()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def last_words(self):
        """Its log, and what it has counted of errors, if it can still be asked."""
        try:
            text = self.get(self.prefix + "/metrics", timeout=2).body.decode()
            counted = re.findall(r"^\w*(?:errors|timeouts)\w* ?(?:{.*})? [1-9].*$", text, re.M)
        except (OSError, EOFError, ValueError, AssertionError, AttributeError):
            counted = ["(it does not say what it has counted)"]
        return (f"--- log of {' '.join(self.argv)}\n{self.log()[-20000:]}\n" + "\n".join(counted))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        words = self.last_words() if kind is not None else ""
        try:
            if kind is None and self._log_end is None:
                if self.returncode is None:
                    self.stop()
                self.check_left()
        finally:
            self.destroy()
            print(words, end="")


def parse_url(url):
    """(host, port) of an http URL, or the path of a unix socket."""
    if url.startswith("unix:"):
        return url[len("unix:"):]
    m = re.match(r"https?://(?:\[([^\]]+)\]|([^:/]+)):(\d+)", url)
    assert m, url
    return (m.group(1) or m.group(2), int(m.group(3)))


class Response:
    def __init__(self, version, status, reason, headers, body, interim):
        self.version = version
        self.status = status
        self.reason = reason
        self.headers = headers      # list of (name in lower case, value)
        self.body = body
        self.interim = interim      # status codes of 1xx answers before it

    def header(self, name, default=None):
        values = self.header_all(name)
        return values[0] if values else default

    def header_all(self, name):
        return [v for n, v in self.headers if n == name.lower()]

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


class RawClient:
    """Bytes out, answers in. Strict about what it reads."""

    def __init__(self, address, timeout=10, family=None, source=None, rcvbuf=None):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
        else:
            family = family or (socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            self.sock = socket.socket(family)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind(source)
        self.sock.settimeout(timeout * PATIENCE)
        self.buf = b""
        self.address = address
        try:
            self.sock.connect(address)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def send_slowly(self, data, piece=1, pause=0.0):
        for i in range(0, len(data), piece):
            self.send(data[i:i + piece])
            if pause:
                time.sleep(pause)

    def shutdown(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    # ---- reading ----

    def _more(self):
        data = self.sock.recv(65536)
        self.buf += data
        return bool(data)

    def read_exactly(self, n):
        while len(self.buf) < n:
            if not self._more():
                raise EOFError(f"closed after {self.buf!r}, {n} bytes were wanted")
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def read_line(self):
        while b"\r\n" not in self.buf:
            if not self._more():
                raise EOFError(f"closed within a line: {self.buf!r}")
        line, _, self.buf = self.buf.partition(b"\r\n")
        return line

    def read_to_end(self):
        """Everything until the server closes."""
        while self._more():
            pass
        data, self.buf = self.buf, b""
        return data

    def is_closed(self, seconds=5):
        """Does the server close (or reset) within the time, without sending more?"""
        self.sock.settimeout(seconds * PATIENCE)
        try:
            return not self.buf and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False

    def _head(self):
        line = self.read_line().decode("latin-1")
        m = re.fullmatch(r"(HTTP/1\.[01]) (\d{3}) ([\t\x20-\x7e]*)", line)
        assert m, f"not a status line: {line!r}"
        headers = []
        while True:
            line = self.read_line().decode("latin-1")
            if not line:
                return m.group(1), int(m.group(2)), m.group(3), headers
            f = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", line)
            assert f, f"not a field line: {line!r}"
            headers.append((f.group(1).lower(), f.group(2)))

    def _chunks(self):
        body = b""
        while True:
            size = int(self.read_line().split(b";")[0], 16)
            if size == 0:
                while self.read_line():
                    pass
                return body
            body += self.read_exactly(size)
            assert self.read_exactly(2) == b"\r\n", "a chunk does not end with CR LF"

    def response(self, method="GET"):
        """The next final answer."""
        interim = []
        while True:
            version, status, reason, headers = self._head()
            if status >= 200 or status == 101:
                break
            interim.append(status)
        h = dict(headers)
        if method == "HEAD" or status in (101, 204, 304) or (method == "CONNECT" and status < 300):
            body = b""
        elif h.get("transfer-encoding", "").lower() == "chunked":
            assert "content-length" not in h
            body = self._chunks()
        elif "content-length" in h:
            body = self.read_exactly(int(h["content-length"]))
        else:
            body = self.read_to_end()
        return Response(version, status, reason, headers, body, interim)

    def responses(self, n, method="GET"):
        return [self.response(method) for _ in range(n)]

    def request(self, method, path, headers=None, body=b"", close=False, version="HTTP/1.1"):
        """Sends a well-formed request and reads its answer."""
        if isinstance(body, str):
            body = body.encode()
        fields = dict(headers or {})
        names = {n.lower() for n in fields}
        if "host" not in names:
            fields["Host"] = "localhost"
        if close and "connection" not in names:
            fields["Connection"] = "close"
        if body and not names & {"content-length", "transfer-encoding"}:
            fields["Content-Length"] = str(len(body))
        head = f"{method} {path} {version}\r\n"
        head += "".join(f"{n}: {v}\r\n" for n, v in fields.items())
        self.send(head.encode("latin-1") + b"\r\n" + body)
        return self.response(method)

    def get(self, path, headers=None):
        return self.request("GET", path, headers)


class Metrics:
    """The samples of a Prometheus text."""

    LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
    LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')

    def __init__(self, text):
        self.text = text
        self.types = {}
        self.help = {}
        self.samples = []           # (name, labels, value)
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name, kind = line[7:].split(" ")
                assert name not in self.types, f"{name} has two TYPE lines"
                self.types[name] = kind
            elif line.startswith("# HELP "):
                name, _, text_ = line[7:].partition(" ")
                self.help[name] = text_
            elif line and not line.startswith("#"):
                self.samples.append(self._sample(line))
        keys = [(n, tuple(sorted(lb.items()))) for n, lb, _ in self.samples]
        assert len(keys) == len(set(keys)), "a sample occurs twice"

    @classmethod
    def _sample(cls, line):
        m = cls.LINE.fullmatch(line)
        assert m, f"not a sample: {line!r}"
        labels = dict(cls.LABEL.findall(m.group(2) or ""))
        assert ",".join(f'{k}="{v}"' for k, v in labels.items()) == (m.group(2) or "").rstrip(","), \
            f"bad labels: {line!r}"
        return m.group(1), labels, float(m.group(3))

    def get(self, name, /, **labels):
        """The samples of that name whose labels have these values."""
        return [(lb, v) for n, lb, v in self.samples
                if n == name and all(lb.get(k) == str(w) for k, w in labels.items())]

    def sum(self, name, /, **labels):
        return sum(v for _, v in self.get(name, **labels))
