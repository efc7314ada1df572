# SPDX-License-Identifier: MIT
"""Rate limits over all workers: to the single request, and what the answers say."""
import json
import re
import time

import pytest

from gauge import Crowd
from lib import Server, wait_until


def serve(config, env=None, workers=4):
    settings = {"MAX_REQUESTS": 0}
    settings.update(env or {})
    return Server("builtin:hello", config=config, env=settings, workers=workers)


def limits(s):
    return {x["name"]: x for x in s.status()["rate_limits"]}


def spread(s, n, path="/", headers=None):
    """The statuses of n requests on connections of their own, so over all workers."""
    found = []
    for _ in range(n):
        with s.connect() as c:
            found.append(c.get(path, headers or {}).status)
    return found


def route(**limit):
    inner = ", ".join(f"{k}: {v}" for k, v in limit.items())
    return "rate_limits:\n  it: {" + inner + "}\ndefaults: {rate_limits: [it]}\n"


# ---- exactness ----


def test_a_burst_admits_what_the_bucket_holds():
    with serve(route(key="none", rate="1/h", burst=37)) as s:
        crowd = Crowd(s.address, 60, [("/", {})])
        crowd.run(each=2)
        crowd.close()
        assert crowd.statuses() == {200: 37, 429: 83}
        assert (limits(s)["it"]["allowed"], limits(s)["it"]["limited"]) == (37, 83)


def test_a_stream_of_requests_admits_burst_and_refill():
    """Never one more than the rate yields in the time there was, and not noticeably fewer."""
    with serve(route(key="none", rate="100/s", burst=20)) as s:
        crowd = Crowd(s.address, 6, [("/", {})])
        crowd.run(seconds=1)
        crowd.close()
        admitted = [a for a in crowd.answers if a[1] == 200]
        begin = min(b for _, _, b, _ in crowd.answers)
        end = max(e for _, _, _, e in crowd.answers)
        assert len(admitted) <= 20 + 100 * (end - begin) + 1
        assert len(admitted) >= 20 + 100 * (end - begin) * 0.8
        assert set(crowd.statuses()) == {200, 429}


def test_a_window_admits_rate_and_burst():
    with serve(route(algorithm="sliding_window", key="none", rate="20/h", burst=5)) as s:
        crowd = Crowd(s.address, 40, [("/", {})])
        crowd.run(each=2)
        crowd.close()
        assert crowd.statuses() == {200: 25, 429: 55}


def test_all_are_charged_or_none():
    config = ("rate_limits:\n  small: {key: none, rate: 1/h, burst: 3}\n"
              "  large: {key: none, rate: 1/h, burst: 100}\n"
              "routes:\n  - {path: /, rate_limits: [large, small]}\n")
    with serve(config) as s:
        assert sorted(spread(s, 20)) == [200] * 3 + [429] * 17
        assert limits(s)["large"]["allowed"] == 3
        r = s.get("/")
        assert r.json()["violated-policies"] == ["small"]
        assert 'r=97' in r.header("ratelimit")


# ---- keys ----


def test_keys_are_apart():
    config = route(key="[header:X-API-Key, cookie:session, client]", rate="1/h", burst=2)
    with serve(config) as s:
        for headers in ({"X-API-Key": "a"}, {"X-API-Key": "b"}, {"Cookie": "x=1; session=s1"},
                        {"Cookie": "session=s2; y=2"}, {}):
            assert spread(s, 3, headers=headers) == [200, 200, 429], headers
        # The first that is present counts; a field is not mixed up with an address.
        assert spread(s, 1, headers={"X-API-Key": "a", "Cookie": "session=s9"}) == [429]
        assert spread(s, 1, headers={"X-API-Key": "127.0.0.1"}) == [200]
        assert limits(s)["it"]["keys"] == 6


def test_keys_together():
    config = route(key="{all: [header:X-User, header:X-Org]}", rate="1/h", burst=1)
    with serve(config) as s:
        assert spread(s, 2, headers={"X-User": "u", "X-Org": "o"}) == [200, 429]
        assert spread(s, 1, headers={"X-User": "u", "X-Org": "p"}) == [200]
        assert spread(s, 1, headers={"X-User": "uo", "X-Org": ""}) == [200]
        assert spread(s, 3, headers={"X-User": "u"}) == [200] * 3 # it does not count this


def test_clients_behind_proxies_and_networks():
    with serve(route(key="client", rate="1/h", burst=1)) as s:
        def ask(address):
            return spread(s, 1, headers={"X-Forwarded-For": address})[0]
        assert [ask("10.1.1.1"), ask("10.1.1.1"), ask("10.1.1.2")] == [200, 429, 200]
        # IPv6 by its /64.
        assert [ask("2001:db8::1"), ask("2001:db8::ffff:2"), ask("2001:db8:0:1::1")] == \
            [200, 429, 200]


@pytest.mark.parametrize("when_full", ["deny", "allow"])
def test_a_full_table(when_full):
    with serve(route(key="header:X-Key", rate="1/h", burst=1, entries=64,
                     when_full=when_full)) as s:
        found = [spread(s, 1, headers={"X-Key": f"k{i}"})[0] for i in range(200)]
        over = limits(s)["it"]["overflowed"]
        assert over > 0
        if when_full == "deny":
            assert found.count(429) == over
        else:
            assert set(found) == {200}
        m = s.metrics()
        assert m.sum("capricorn_ratelimit_overflows_total", policy="it") == over
        assert m.sum("capricorn_ratelimit_keys", policy="it", state="used") <= 64


# ---- what is said ----


def test_what_a_refusal_says():
    with serve(route(key="none", rate="6/m", burst=2)) as s:
        r = s.get("/")
        assert r.header("ratelimit-policy") == '"it";q=2;w=20'
        assert re.fullmatch(r'"it";r=1;t=\d+', r.header("ratelimit"))
        assert r.header("x-ratelimit-limit") is None
        assert s.get("/").status == 200
        r = s.get("/")
        assert r.status == 429
        assert 1 <= int(r.header("retry-after")) <= 10
        assert r.header("ratelimit").startswith('"it";r=0;t=')
        problem = r.json()
        assert r.header("content-type") == "application/problem+json"
        assert problem["type"].endswith("#quota-exceeded")
        assert (problem["status"], problem["violated-policies"]) == (429, ["it"])
        assert problem["request_id"] == r.header("x-request-id")


def test_waiting_as_told_is_enough():
    with serve(route(key="none", rate="2/s", burst=1)) as s:
        assert s.get("/").status == 200
        r = s.get("/")
        assert (r.status, r.header("retry-after")) == (429, "1")
        time.sleep(int(r.header("retry-after")))
        assert s.get("/").status == 200


def test_legacy_fields_and_the_short_way():
    env = {"ENABLE_RATE_LIMITING": "true", "RATE_LIMIT_PER_MINUTE": 2, "RATE_LIMIT_BURST": 3,
           "RATE_LIMIT_LEGACY_HEADERS": "true"}
    with serve("routes:\n  - {path: /free, rate_limits: []}\n", env) as s:
        r = s.get("/")
        assert (r.header("x-ratelimit-limit"), r.header("x-ratelimit-remaining")) == ("3", "2")
        assert int(r.header("x-ratelimit-reset")) >= 1
        # Besides those of the file, also where a route says that there are none.
        assert [s.get("/free").status for _ in range(3)] == [200, 200, 429]
        assert s.get("/").json()["violated-policies"] == ["client"]


def test_a_table_of_paths():
    config = ("rate_limits:\n  per_endpoint:\n    key: none\n    paths:\n"
              "      /mcp/a: {rate: 1/h, burst: 2}\n      /mcp/{x}: {rate: 1/h, burst: 1}\n")
    with Server("builtin:echo", config=config, workers=2) as s:
        assert [s.get("/mcp/a").status for _ in range(3)] == [200, 200, 429]
        assert [s.get("/mcp/b").status for _ in range(2)] == [200, 429]
        assert s.get("/mcp/c").status == 429 # the path is the key's place, not its value
        assert s.get("/other").status == 200
        assert s.get("/mcp/a").json()["violated-policies"] == ["per_endpoint"]


def test_shadow_refuses_nobody():
    with serve(route(key="none", rate="1/h", burst=2, mode="shadow")) as s:
        assert spread(s, 6) == [200] * 6
        r = s.get("/")
        assert r.header("ratelimit") is None
        it = limits(s)["it"]
        assert (it["allowed"], it["limited"], it["shadowed"]) == (2, 0, 5)
        m = s.metrics()
        assert m.sum("capricorn_ratelimit_decisions_total", policy="it", decision="shadowed") == 5


def test_status_paths_are_outside():
    with serve(route(key="none", rate="1/h", burst=1)) as s:
        assert s.get("/").status == 200
        assert s.get("/").status == 429
        for path in ("/health", "/status", "/metrics"):
            assert s.get(s.prefix + path).status == 200


# ---- changes ----


def test_a_live_change():
    with serve(route(key="none", rate="1/h", burst=1)) as s:
        def change(**body):
            return s.request("POST", s.prefix + "/api/v1/control/rate-limits/it",
                             {"Content-Type": "application/json"}, json.dumps(body).encode())
        assert spread(s, 2) == [200, 429]
        r = change(mode="shadow")
        assert (r.status, r.json()["mode"]) == (200, "shadow")
        assert spread(s, 3) == [200] * 3
        assert change(mode="enforce", rate=100000, burst=50).status == 200
        wait_until(lambda: s.get("/").status == 200, what="the new rate")
        # 50 of 100000 an hour come back in 1.8 s.
        assert s.get("/").header("RateLimit-Policy") == '"it";q=50;w=2'
        for body in ({"rate": 0}, {"mode": "x"}, {"speed": 1}, {}, {"burst": -1}):
            assert change(**body).status == 400, body
        r = s.request("POST", s.prefix + "/api/v1/control/rate-limits/it",
                      {"Content-Type": "application/json"}, b"[1]")
        assert r.status == 400
