# SPDX-License-Identifier: MIT
"""Routes of the configuration: which one holds, what it says, and a reload that swaps them."""
import json
import signal

from lib import Server, wait_until
from modules import module

ECHO = """\
defaults: {max_body: 10}
routes:
  - {path: /a/b, name: literal, max_body: 100}
  - {path: "/a/{x}", name: param, methods: [POST], max_body: 200}
  - {path: /a/*, name: rest, max_body: 300}
  - {path: /inner/*, name: inner, access: status}
"""


def test_the_most_specific_one_holds():
    with Server("builtin:echo", config=ECHO, workers=1) as s:
        def most(path, method="POST"):
            """What the route lets pass."""
            for n in (10, 100, 200, 300):
                if s.request(method, path, body=b"x" * (n + 1)).status == 413:
                    return n
            return None
        assert most("/a/b") == 100
        assert most("/a/c") == 200
        assert most("/a/c", "PUT") == 300 # the route of that pattern is for POST only
        assert most("/a/c/d") == 300
        assert most("/else") == 10
        m = s.metrics()
        for name in ("literal", "param", "rest"):
            assert m.sum("capricorn_http_requests_total", route=name) > 0


def test_access_status():
    with Server("builtin:echo", config=ECHO, workers=1,
                env={"ADMIN_TOKEN": "a-token-of-some-length"}) as s:
        outside = {"X-Forwarded-For": "10.2.3.4"}
        r = s.get("/inner/x", outside)
        assert (r.status, r.header("content-type")) == (403, "application/problem+json")
        token = {"Authorization": "Bearer a-token-of-some-length"}
        assert s.get("/inner/x", {**outside, **token}).status == 200
        assert s.get("/inner/x").status == 200
        assert s.get("/outer", outside).status == 200


def test_a_timeout_of_a_route():
    config = "routes:\n  - {path: /pool/gate, timeout: 300ms}\nmodule: {}\n"
    with Server(module("probe"), config=config, workers=1,
                env={"METRIC_ROUTES": 64, "THREAD_POOL_SIZE": 2}) as s:
        assert s.get("/pool/gate").status == 504
        assert s.get("/pool/answer").status == 200
        s.get("/gate/open")
        wait_until(lambda: s.status()["workers"][0]["abandoned"] == 0, what="its end")


def test_a_reload_swaps_all_of_them():
    with Server("builtin:echo", config=ECHO, workers=2) as s:
        s.write_config("routes:\n  - {path: /a/b, name: other, max_body: 5}\n")
        s.kill(signal.SIGHUP)
        wait_until(lambda: s.status()["generation"] == 2, what="the reload")
        assert s.request("POST", "/a/b", body=b"123456").status == 413
        assert s.request("POST", "/a/c", body=b"x" * 1000).status == 200
        # One with mistakes changes nothing, and all of them are told.
        s.write_config("routes:\n  - {path: /x, semaphores: [nope]}\n  - {path: y}\n")
        s.kill(signal.SIGHUP)
        s.wait_log(r"capricorn.yaml:2.*nope")
        s.wait_log(r"capricorn.yaml:3.*")
        assert s.request("POST", "/a/b", body=b"123456").status == 413


def test_print_config_shows_what_holds():
    with Server("builtin:echo", config=ECHO, workers=1) as s:
        import subprocess
        out = subprocess.run([*s.argv[:1], "-c", s.config_path, "--print-config"],
                             capture_output=True, text=True, check=True, env=s.env).stdout
        assert "literal" in json.dumps(json.loads(out))


def test_what_a_handler_takes_is_its_own_to_say():
    """A route of a module may take longer bodies than CLIENT_MAX_BODY_SIZE, unless the file says
    otherwise."""
    config = "routes:\n  - {path: /inline/large, max_body: 100}\nmodule: {}\n"
    with Server(module("probe"), config=config, workers=1,
                env={"CLIENT_MAX_BODY_SIZE": 1000, "METRIC_ROUTES": 64}) as s:
        assert s.request("POST", "/pool/large", body=b"x" * 2000).status == 200
        assert s.request("POST", "/pool/small", body=b"x" * 11).status == 413
        assert s.request("POST", "/inline/large", body=b"x" * 101).status == 413
        assert s.request("POST", "/nowhere", body=b"x" * 1001).status == 413
