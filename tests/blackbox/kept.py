# SPDX-License-Identifier: MIT
"""Clients of what tests/modules/gauge.c keeps: they know of each byte whose it must be.

A body is records of 20 bytes, "key version index", cut to the size that was asked for, with a sum
of all of it in the last 9. Versions are the test's: it changes one, has what is kept made
invalid, and from the answer to that on nobody may be given an older one.
"""
import gzip
import json
import random
import re
import socket
import threading
import time
import zlib

from gauge import Client

RECORD, SUM = 20, 9
KEYS, HOT = 240, 8
LARGE = KEYS    # the key of what is sent for a while
KINDS = ("inline", "pool", "stream")

#: Behind the "routes:" of a configuration.
ROUTES = "".join(f"""\
  - path: /kept/{kind}/{{key}}
    methods: [GET]
    cache: {{ttl: 1s, stale: 2s, tags: ["kept:{{key}}"]}}
""" + ("    semaphores: [work]\n" if kind == "pool" else "") for kind in KINDS)
RULES = """\
cache:
  invalidate:
    - {name: kept, when: ["POST /kept/change/{key}"], patterns: ["kept:{key}"]}
"""


class Kept:
    """What the clients know, and what they have seen."""

    def __init__(self, gauge, prefix, seed):
        self.gauge, self.prefix = gauge, prefix
        self.random = random.Random(seed)
        self.least = [0] * (KEYS + 1) # versions that nobody may be behind
        self.wrong = []
        self.seen = {}              # how often, by what Cache-Status says first, and by status

    def size(self, key):
        """100 bytes to 60 KB, small ones more often; some are longer than a segment."""
        if key == LARGE:
            return 400000           # with 2 MB of cache
        return int(100 * 600 ** (key * 89 % KEYS / KEYS))

    def path(self, key):
        ms = 5 if KINDS[key % 3] == "pool" else 0
        return f"/kept/{KINDS[key % 3]}/{key}?size={self.size(key)}&ms={ms}"

    def any_key(self):
        return self.random.randrange(HOT if self.random.random() < 0.4 else KEYS)

    def count(self, what):
        self.seen[what] = self.seen.get(what, 0) + 1

    def must(self, is_so, *what):
        if not is_so:
            self.wrong.append(what)

    def check(self, key, least, fields, status, body):
        """An answer to somebody who asked when `least` was the oldest that he may be given."""
        if status not in (200, 206):
            self.must(False, "status", key, status, body[:200])
            return
        size, start = self.size(key), 0
        if fields.get(b"content-encoding") == b"gzip":
            self.must(status == 200, "a coded part", key)
            body = gzip.decompress(body)
        if status == 206:
            m = re.fullmatch(rb"bytes (\d+)-(\d+)/(\d+)", fields[b"content-range"])
            start, last, whole = (int(n) for n in m.groups())
            self.must((whole, len(body)) == (size, last + 1 - start), "range", key, fields)
        else:
            self.must(len(body) == size, "length", key, len(body), size)
        self._check_bytes(key, least, start, size, body)
        self.count(fields[b"cache-status"].split(b"; ")[1].decode())
        self.count(status)

    def _check_bytes(self, key, least, start, size, body):
        skip = -start % RECORD      # to the first record that is whole
        m = re.match(rb"(\d{5}) (\d{8}) \d{4}\n", body[skip:skip + RECORD])
        if not m:
            self.must(False, "no record", key, start, size, body[:100])
            return
        version = int(m.group(2))
        self.must(int(m.group(1)) == key, "another key's", key, m.group())
        self.must(least <= version <= self.gauge.version(key), "version", key, least, m.group(),
                  self.gauge.version(key))
        if start == 0 and len(body) == size:
            self.must(b"%08x\n" % zlib.crc32(body[:-SUM]) == body[-SUM:], "sum", key, size)
            return
        first = start // RECORD
        want = b"".join(b"%05u %08u %04u\n" % (key, version, i % 10000)
                        for i in range(first, (start + len(body)) // RECORD + 1))
        n = min(len(body), size - SUM - start)
        self.must(want[start - first * RECORD:][:n] == body[:n], "part", key, start)


class Reader(Client):
    """Asks for one key or another, now and then: whole, coded, or a part."""

    noted = False
    pause = 0.05

    def __init__(self, crowd, kept):
        super().__init__(crowd, b"")
        self.kept = kept
        self.key = self.least = 0
        self.asked = False

    def send(self, text):
        self.request = text.encode()
        super().ask()
        self.asked = True

    def ask(self):
        k = self.kept
        self.key = k.any_key()
        self.least = k.least[self.key]
        way, more = k.random.random(), ""
        if way < 0.15:
            more = "Accept-Encoding: gzip\r\n"
        elif way < 0.3:
            first = k.random.randrange(k.size(self.key) - SUM - 2 * RECORD)
            more = f"Range: bytes={first}-{first + 2 * RECORD + k.random.randrange(2000)}\r\n"
        self.send(f"GET {k.path(self.key)} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n")

    def drop(self):
        super().drop()
        self.buffer = b""

    def on_readable(self):
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        self.buffer += data
        if not data:
            self.drop()
        answer = whole_answer(self.buffer)
        if not self.asked or (data and not answer):
            self.kept.must(not self.buffer or self.asked, "unasked", self.buffer[:200])
            return None             # (its connection may be cut while it does nothing)
        self.asked = False
        self.due = time.monotonic() + self.kept.random.uniform(0, 2 * self.pause)
        if not answer:
            self.kept.count("cut")
            return 0
        status, fields, body, self.buffer = answer
        self.on_answer(status, fields, body)
        if fields.get(b"connection") == b"close":
            self.drop()
        return status

    def on_answer(self, status, fields, body):
        self.kept.check(self.key, self.least, fields, status, body)


class Changer(Reader):
    """Changes a version, has what is kept of it made invalid, in one way or another, and says so to
    the others when that has been answered."""

    pause = 0.03

    def ask(self):
        k = self.kept
        key, way = k.any_key(), k.random.randrange(20)
        keys, what, path = [key], "purge", f"{k.prefix}/api/v1/control/cache/"
        if way < 5:
            body = {"tag": f"kept:{key}"}
        elif way < 10:
            body = {"key": f"localhost{k.path(key)}"}
        elif way < 14:
            what, body = "invalidate", {"name": "kept", "values": {"key": str(key)}}
        elif way < 15:
            keys = [i for i in range(KEYS) if re.fullmatch(r"1\d\d", str(i))]
            body = {"pattern": "kept:1??"}
        elif way < 16 and k.random.random() < 0.3:
            keys, body = list(range(KEYS + 1)), {"all": True}
        else:
            path, what, body = "/kept/change/", str(key), {}
        self.changed = [(i, k.gauge.change(i)) for i in keys]
        text = json.dumps(body)
        self.send(f"POST {path}{what} HTTP/1.1\r\nHost: localhost\r\n"
                  f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}")

    def on_answer(self, status, fields, body):
        self.kept.must(status in (200, 204), "a change", status, body[:200])
        for key, version in self.changed:
            self.kept.least[key] = max(self.kept.least[key], version)
        self.kept.count("changes")


class Sleepers:
    """Clients that ask for what is large, and do not read it for a while: who sends it has it
    pinned. Use as a context."""

    def __init__(self, address, kept, n):
        self.address, self.kept = address, kept
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(n)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        for t in self.threads:
            t.join()

    def _run(self):
        while not self.over.is_set():
            try:
                self._ask()
            except OSError:
                self.kept.count("cut")
            except Exception as e: # told by the thread that tests
                self.kept.must(False, repr(e))

    def _ask(self):
        k, data = self.kept, b""
        least = k.least[LARGE]
        with socket.socket() as s:
            # Small segments: so the kernel takes less of what is sent, about 240 KB.
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(30)
            s.connect(self.address)
            s.sendall(f"GET {k.path(LARGE)} HTTP/1.1\r\nHost: localhost\r\n"
                      "Connection: close\r\n\r\n".encode())
            self.over.wait(k.random.uniform(0.3, 1.2))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            while piece := s.recv(65536):
                data += piece
        answer = whole_answer(data)
        if answer:
            k.check(LARGE, least, answer[1], answer[0], answer[2])
            k.count("slept")


def whole_answer(data):
    """(status, fields, body, rest), or None: it is not whole."""
    head, sep, rest = data.partition(b"\r\n\r\n")
    if not sep:
        return None
    first, *lines = head.split(b"\r\n")
    fields = {n.lower(): v.strip() for n, _, v in (line.partition(b":") for line in lines)}
    status = int(first.split(b" ")[1])
    if fields.get(b"transfer-encoding") != b"chunked":
        length = int(fields.get(b"content-length", b"0"))
        return (status, fields, rest[:length], rest[length:]) if len(rest) >= length else None
    body, at = [], 0
    while True:
        end = rest.find(b"\r\n", at)
        n = int(rest[at:end], 16) if end >= 0 else 0
        if end < 0 or len(rest) < end + 4 + n:
            return None
        if n == 0:
            return status, fields, b"".join(body), rest[end + 4:]
        body.append(rest[end + 2:end + 2 + n])
        at = end + 4 + n
