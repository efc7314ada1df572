# SPDX-License-Identifier: MIT
"""Who may see the built-in API, over real connections."""
import pytest

import lib


OPEN = ("/", "/health", "/livez", "/readyz")
SHUT = ("/status", "/metrics", "/dashboard", "/api/v1/performance/stats",
        "/api/v1/performance/active-requests")
JSON = {"Content-Type": "application/json"}
WORKERS = "/api/v1/control/workers"


@pytest.fixture(scope="module")
def shut():
    """Loopback is not in STATUS_ALLOW: a stranger's view. There is a token."""
    with lib.Server(workers=1, wait=False, env={
            "STATUS_ALLOW": "10.11.12.0/24", "ADMIN_TOKEN": "s3cret"}) as s:
        s.wait_listening()
        lib.wait_until(lambda: s.get("/readyz").status == 200, 10, "readiness")
        yield s


@pytest.fixture(scope="module")
def local():
    """The defaults: loopback may see; there is no token."""
    with lib.Server(workers=1) as s:
        yield s


@pytest.mark.parametrize("path", OPEN)
def test_open(shut, path):
    assert shut.get(path).status == 200


@pytest.mark.parametrize("path", SHUT)
def test_strangers_are_told_how_to_get_in(shut, path):
    r = shut.get(path)
    assert r.status == 403 and r.header("content-type") == "application/problem+json"
    detail = r.json()["detail"]
    assert "STATUS_ALLOW" in detail and "ADMIN_TOKEN" in detail and "127.0.0.1" in detail
    assert "s3cret" not in detail


@pytest.mark.parametrize("path", SHUT)
def test_the_token_opens(shut, path):
    r = shut.get(path, {"Authorization": "Bearer s3cret"})
    assert r.status in (200, 501)


@pytest.mark.parametrize("value", ["Bearer s3cre", "Bearer s3cretx", "Bearer", "Bearer ",
                                   "Basic s3cret", "s3cret", "Bearer S3CRET"])
def test_wrong_tokens(shut, value):
    assert shut.get("/status", {"Authorization": value}).status == 403


def test_clients_behind_a_trusted_proxy(shut):
    assert shut.get("/status", {"X-Forwarded-For": "10.11.12.13"}).status == 200
    assert shut.get("/status", {"X-Forwarded-For": "10.11.12.13, 9.9.9.9"}).status == 403
    assert shut.get("/status", {"Forwarded": "for=10.11.12.13"}).status == 200
    assert shut.get("/status", {"X-Forwarded-For": "10.11.13.1"}).status == 403


@pytest.mark.parametrize("field", ["X-Forwarded-For", "Forwarded", "Via"])
def test_what_came_through_a_proxy_is_not_loopback(local, field):
    value = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "Via": "1.1 p"}[field]
    assert local.get("/status").status == 200
    assert local.get("/status", {field: value}).status == 403
    assert local.get("/livez", {field: value}).status == 200
    assert local.request("POST", WORKERS, {**JSON, field: value}, b"{}").status == 403


def test_a_unix_socket_is_not_loopback(serve, tmp_path):
    path = str(tmp_path / "s")
    s = serve(workers=1, bind=f"unix:{path}", wait=False)
    lib.wait_until(lambda: s.urls and s.get("/readyz").status == 200, 10, "readiness")
    assert s.get("/status").status == 403
    s2 = serve(workers=1, bind=f"unix:{path}2", env={"STATUS_ALLOW": "unix"})
    assert s2.get("/status").status == 200
    assert s2.get("/status", {"Via": "1.1 p"}).status == 403


def test_refused_in_text_for_those_who_ask(shut):
    r = shut.get("/status", {"Accept": "text/plain"})
    assert r.status == 403 and r.header("content-type").startswith("text/plain")
    assert r.body.startswith(b"403 Forbidden: ")


@pytest.mark.parametrize("headers,status", [
    (JSON, 501),
    ({**JSON, "Host": "127.0.0.1"}, 501),
    ({**JSON, "Host": "[::1]:80"}, 501),
    ({**JSON, "Origin": "http://localhost"}, 501),
    ({}, 403),
    ({"Content-Type": "text/plain"}, 403),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 403),
    ({**JSON, "Host": "evil.example"}, 403),
    ({**JSON, "Host": "127.0.0.1.evil.example"}, 403),
    ({**JSON, "Origin": "http://evil.example"}, 403),
    ({**JSON, "Origin": "null"}, 403),
])
def test_changing_needs_more_than_an_address(local, headers, status):
    assert local.request("POST", WORKERS, headers, b"{}").status == status


def test_changing_with_the_token(shut):
    assert shut.request("POST", WORKERS, JSON, b"{}").status == 403
    assert shut.request("POST", WORKERS, {"Authorization": "Bearer s3cret"}, b"{}").status == 501


def test_access_before_method_and_feature(shut):
    for method in ("GET", "POST", "DELETE"):
        assert shut.request(method, "/dashboard").status == 403
        assert shut.request(method, WORKERS).status == 403


def test_the_status_listener_has_the_same_rules(serve):
    s = serve(workers=1, wait=False, env={"STATUS_ALLOW": "10.0.0.0/8", "ADMIN_TOKEN": "t",
                                          "STATUS_BIND": "127.0.0.1:0"})
    m = s.wait_log(r"[Ss]tatus\D* at: http://127\.0\.0\.1:(\d+)")
    with lib.RawClient(("127.0.0.1", int(m.group(1)))) as c:
        assert c.get("/livez").status == 200
        assert c.get("/status").status == 403
        assert c.get("/status", {"Authorization": "Bearer t"}).status == 200
        assert c.get("/").status == 404
