# SPDX-License-Identifier: MIT
"""Clients that ask all the time, on fresh connections, while a test does something to the server."""
import threading

from lib import RawClient


class Load:
    """`threads` clients, each one request after the other. Use as a context; `ok` and `failed` are
    what they saw."""

    def __init__(self, server, path="/", threads=4):
        self.server = server
        self.address = server.address
        self.path = path
        self.ok = 0
        self.failed = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self):
        while not self._stop.is_set():
            try:
                with RawClient(self.address, timeout=10) as c:
                    r = c.request("GET", self.path, close=True)
                assert r.status == 200, r
                with self._lock:
                    self.ok += 1
            except (OSError, EOFError, AssertionError) as e:
                with self._lock:
                    self.failed.append(repr(e))

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        self._stop.set()
        for t in self._threads:
            t.join()
