# SPDX-License-Identifier: MIT
"""The examples of docs/LIMITS.md, taken out of it and run."""
import os
import re

import pytest

import lib
from gauge import Crowd, serve_gauge
from lib import Server


def blocks():
    """What is indented by four blanks and is a part of a configuration file."""
    with open(os.path.join(lib.TOP, "docs", "LIMITS.md"), encoding="utf-8") as f:
        text = f.read()
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.M)
    found = ["\n".join(line[4:] for line in b.split("\n")) for b in found]
    return [b for b in found if re.match(r"\n*(semaphores|rate_limits):", b)]


def block(word):
    (found,) = [b for b in blocks() if word in b]
    return found


@pytest.mark.parametrize("workers", [1, 8])
def test_an_llm_gateway(workers):
    config = block("/v1/chat/completions").replace("/v1/chat/completions", "/async/{gauge}")
    with serve_gauge(config, workers=workers) as s:
        crowd = Crowd(s.address, 100, [("/async/0?ms=60", {})])
        crowd.run(each=2)
        crowd.close()
        assert crowd.statuses() == {200: 200}
        assert s.gauge.peak() == 20
        m = s.metrics()
        assert m.sum("capricorn_http_requests_total", route="chat", code="200") == 200


def test_per_user():
    with Server("builtin:hello", config=block("per_user"), workers=3) as s:
        for headers in ({"X-API-Key": "a"}, {"X-API-Key": "b"}, {}):
            crowd = Crowd(s.address, 40, [("/", headers)])
            crowd.run(each=2)
            crowd.close()
            assert crowd.statuses() == {200: 70, 429: 10}


def test_per_endpoint():
    with Server("builtin:hello", config=block("per_endpoint"), workers=3) as s:
        for path, burst, rate in (("/mcp/create_draft", 20, 100), ("/mcp/add_video", 50, 200),
                                  ("/mcp/save_draft", 10, 50)):
            crowd = Crowd(s.address, 50, [(path, {})])
            crowd.run(each=4)
            crowd.close()
            admitted = [a for a in crowd.answers if a[1] == 200]
            took = max(a[3] for a in crowd.answers) - min(a[2] for a in crowd.answers)
            assert burst <= len(admitted) <= burst + rate * took + 1
        assert s.get("/other").status == 200


def test_the_recommended_values():
    with open(os.path.join(lib.TOP, "docs", "LIMITS.md"), encoding="utf-8") as f:
        text = f.read()
    pairs = re.findall(r"(\d+)/(\d+)", text[text.index("Recommended to begin with"):])[:4]
    assert pairs == [("50", "10"), ("100", "20"), ("200", "50"), ("500", "100")]
    for total, llm in pairs:
        env = {"MAX_CONCURRENT_REQUESTS": total, "LLM_CONCURRENT_LIMIT": llm}
        with Server("builtin:hello", env=env, workers=1) as s:
            limits = {x["name"]: x["limit"] for x in s.status()["semaphores"]}
            assert limits == {"global": int(total), "llm": int(llm)}
            assert s.get("/").status == 200
