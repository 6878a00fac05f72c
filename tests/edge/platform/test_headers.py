"""Headers of every answer, the Host check, CORS and HEAD."""

import falcon.testing
import pytest

from edge.app import create_app
from tests.support.routes import STREAMS, assert_envelope, fill

ORIGIN = "http://localhost:3000"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization",
}


def test_unknown_paths_and_methods_answer_with_the_envelope(http):
    assert_envelope(http.simulate_get("/nowhere"), 404, "not_found")
    answer = http.simulate_put("/api/v1/chat")
    assert_envelope(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


def test_a_valid_correlation_id_is_kept_and_any_other_replaced(http):
    kept = http.simulate_get("/health", headers={"X-Correlation-ID": "trace-12345678"})
    assert kept.headers["X-Correlation-ID"] == "trace-12345678"
    replaced = http.simulate_get("/health", headers={"X-Correlation-ID": "a b\tc"})
    assert replaced.headers["X-Correlation-ID"] != "a b\tc"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/health", {}, 200),
        ("OPTIONS", "/api/v1/chat", {}, 200),
        ("OPTIONS", "/api/v1/chat", PREFLIGHT, 200),
        ("GET", "/", {"Host": "evil.example"}, 400),
        ("GET", "/api/v1/auth/me", {}, 401),
        ("GET", "/nowhere", {}, 404),
        ("OPTIONS", "/nowhere", PREFLIGHT, 404),
        ("PUT", "/api/v1/chat", {}, 405),
        ("BREW", "/api/v1/chat", {}, 400),
        ("POST", "/api/v1/auth/token", {"Content-Type": "text/plain"}, 415),
        ("POST", "/api/v1/auth/token", {"Content-Length": "99999999"}, 413),
        ("POST", "/api/v1/auth/token", {"Content-Type": "application/json"}, 422),
    ],
)
@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
def test_every_answer_has_its_correlation_id_and_the_security_headers(http, method, path, headers, status):
    body = b"x" if method == "POST" else None
    answer = http.simulate_request(method, path, headers=headers, body=body)
    assert answer.status_code == status
    assert len(answer.headers["X-Correlation-ID"]) >= 8
    assert float(answer.headers["X-Process-Time"]) >= 0
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    if status >= 400:
        assert_envelope(answer, status)


def test_an_unknown_host_is_a_400_except_for_probes(http):
    assert_envelope(http.simulate_get("/", headers={"Host": "evil.example"}), 400, "invalid_host")
    assert http.simulate_get("/health", headers={"Host": "10.0.0.7"}).status_code == 200


@pytest.mark.parametrize("host", ["localhost:http", "localhost:", "localhost:80:80", "[::1", "[::1]:x", "", " ", ":80"])
def test_a_malformed_host_is_a_400(http, host):
    assert_envelope(http.simulate_get("/", headers={"Host": host}), 400, "invalid_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost:8000", "127.0.0.1:8000"])
def test_an_allowed_host_may_name_a_port(http, host):
    assert http.simulate_get("/", headers={"Host": host}).status_code == 200


def test_a_known_origin_passes_the_preflight_and_may_read_our_headers(http):
    preflight = http.simulate_options("/api/v1/chat", headers=PREFLIGHT)
    assert preflight.status_code == 200 and preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    answer = http.simulate_get("/health", headers={"Origin": ORIGIN})
    assert "X-Run-Id" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("path", ["/api/v1/auth/me", "/nowhere"])
def test_a_known_origin_may_read_errors(http, path):
    answer = http.simulate_get(path, headers={"Origin": ORIGIN})
    assert answer.status_code >= 400 and answer.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_an_unknown_origin_may_read_nothing(http):
    answer = http.simulate_get("/health", headers={"Origin": "http://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origin", [ORIGIN, "http://evil.example", None])
@pytest.mark.parametrize("path", ["/.well-known/jwks.json", "/openapi.json", "/docs", "/health", "/nowhere"])
def test_a_shared_cache_keeps_one_copy_per_origin(http, path, origin):
    answer = http.simulate_get(path, headers={"Origin": origin} if origin else {})
    assert "Origin" in answer.headers["Vary"].split(", ")


def test_where_any_origin_is_allowed_answers_do_not_vary_by_origin(clean, configure):
    configure(allowed_origins="*")
    http = falcon.testing.TestClient(create_app(), headers={"Host": "localhost"})
    answer = http.simulate_get("/health", headers={"Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == "*" and "Vary" not in answer.headers


def test_head_is_get_without_the_body(http):
    answer = http.simulate_head("/health")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(("method", "path", "operation"), STREAMS)
def test_a_stream_has_no_head(http, signed, method, path, operation):
    headers, _ = signed()
    answer = http.simulate_head(fill(path), headers=headers)
    assert (answer.status_code, answer.content) == (405, b"")
    assert "HEAD" not in answer.headers["Allow"]
