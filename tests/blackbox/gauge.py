# SPDX-License-Identifier: MIT
"""What the handlers of tests/modules/gauge.c see of each other, and a crowd of clients for them."""
import mmap
import os
import selectors
import socket
import struct
import time

from modules import directory, module
from lib import Server

GAUGES, CELLS, KEPT = 8, 256, 512
CELL = 4 * (1 + 2 * GAUGES)
CALLS = 4 * 2 * GAUGES + CELLS * CELL
VERSIONS = CALLS + 4
SIZE = VERSIONS + 4 * KEPT


class Gauge:
    """The file that all workers map."""

    def __init__(self):
        self.path = os.path.join(directory(), f"gauge-{os.getpid()}-{time.monotonic_ns()}")
        with open(self.path, "wb") as f:
            f.truncate((SIZE + 4095) // 4096 * 4096)
        os.chmod(self.path, 0o666)
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def peak(self, gauge=0):
        return struct.unpack_from("I", self.map, 4 * gauge)[0]

    def ended(self, gauge=0):
        return struct.unpack_from("I", self.map, 4 * (GAUGES + gauge))[0]

    def reset(self, gauge=0):
        struct.pack_into("I", self.map, 4 * gauge, 0)

    @property
    def kept_calls(self):
        """Of handlers of /kept."""
        return struct.unpack_from("I", self.map, CALLS)[0]

    def version(self, key):
        """What handlers of /kept say of this key from now on."""
        return struct.unpack_from("I", self.map, VERSIONS + 4 * key)[0]

    def change(self, key):
        version = self.version(key) + 1
        struct.pack_into("I", self.map, VERSIONS + 4 * key, version)
        return version

    def running(self, gauge=0):
        """In workers that live."""
        total = 0
        for i in range(CELLS):
            at = 8 * GAUGES + i * CELL
            (pid,) = struct.unpack_from("i", self.map, at)
            (n,) = struct.unpack_from("I", self.map, at + 4 * (1 + gauge))
            if n and pid and os.path.exists(f"/proc/{pid}"):
                total += n
        return total


def serve_gauge(config, env=None, workers=2, own=False, **kw):
    """(server, gauge): the module under a configuration."""
    g = Gauge()
    text = config + f"\nmodule: {{gauge: {g.path}{', own: yes' if own else ''}}}\n"
    settings = {"MAX_REQUESTS": 0, "THREAD_POOL_SIZE": 64, "GRACEFUL_TIMEOUT": "5s",
                "LOG_SLOW_REQUESTS": "no", "METRIC_ROUTES": 16, "WORKERS_MAX": workers}
    settings.update(env or {})
    s = Server(module("gauge"), config=text, env=settings, workers=workers, **kw)
    s.gauge = g
    return s


class Client:
    """One connection that asks for the same again and again."""

    due = 0.0       # when it asks again: at once
    noted = True    # in the crowd's answers

    def __init__(self, crowd, request):
        self.crowd, self.request = crowd, request
        self.sock = None
        self.buffer = b""
        self.sent = 0.0

    def connect(self):
        self.sock = socket.create_connection(self.crowd.address, 10)
        self.sock.setblocking(False)
        self.buffer = b""
        self.crowd.selector.register(self.sock, selectors.EVENT_READ, self)

    def ask(self):
        if self.sock is None:
            self.connect()
        self.sent = time.monotonic()
        try:
            self.sock.send(self.request)
        except OSError:
            self.drop()
            raise

    def drop(self):
        if self.sock is not None:
            self.crowd.selector.unregister(self.sock)
            self.sock.close()
            self.sock = None

    def on_readable(self):
        """The status of an answer that is whole; None: not yet; 0: the connection was cut."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.drop()
            return 0
        self.buffer += data
        head, sep, rest = self.buffer.partition(b"\r\n\r\n")
        if not sep:
            return None
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) < length:
            return None
        self.buffer = rest[length:]
        if b"\r\nConnection: close" in head:
            self.drop()
        return int(head.split(b" ")[1])


class Crowd:
    """So many clients at once, each with one request at a time. `requests`: a list of (path,
    headers); client i has the i-th of them, modulo their number."""

    def __init__(self, address, n, requests):
        self.address, self.selector = address, selectors.DefaultSelector()
        self.clients = []
        for i in range(n):
            path, headers = requests[i % len(requests)]
            lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
            text = f"GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"
            self.clients.append(Client(self, text.encode()))
        self.answers = []  # (client, status, begin, end)

    def run(self, seconds=None, each=None, during=None):
        """Until the time is over, or each client has had `each` answers; `during` is called now and
        then. Connections that were cut are made anew."""
        begin = now = time.monotonic()
        left = {c: each if each is not None else 1 << 60 for c in self.clients}
        index = {c: i for i, c in enumerate(self.clients)}
        again = list(self.clients)  # who is to ask
        while left:
            waiting, again = again, []
            for c in waiting:
                if c.due > now:
                    again.append(c)
                    continue
                try:
                    c.ask()
                except OSError:
                    again.append(c)
            if seconds is not None and now - begin > seconds:
                break
            assert seconds is not None or now - begin < 120, "the crowd is not served"
            for key, _ in self.selector.select(0.02):
                c = key.data
                status = c.on_readable()
                if status is None:
                    continue
                if c.noted:
                    self.answers.append((index[c], status, c.sent, time.monotonic()))
                left[c] -= 1
                if left[c] > 0:
                    again.append(c)
                else:
                    del left[c]
            if during:
                during()
            now = time.monotonic()
        return now - begin

    def statuses(self):
        found = {}
        for _, status, _, _ in self.answers:
            found[status] = found.get(status, 0) + 1
        return found

    def close(self):
        for c in self.clients:
            c.drop()
        self.selector.close()
