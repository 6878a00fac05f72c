"""What every endpoint has in common: the envelope, headers, limits, and who may call it."""

import json
import time

import pytest

from edge.openapi import PARAMETER, documented
from edge.routes import routes
from models.platform.settings import settings
from tests.support.accounts import CHEAP_HASHER

OPERATIONS = [(method, path, operation) for path, method, operation in documented(routes(settings, CHEAP_HASHER))]
GUARDED = [(method, path) for method, path, operation in OPERATIONS if operation.guard is not None]
WITH_BODY = [(method, path, operation) for method, path, operation in OPERATIONS if operation.body]
BY_NAME = [(method, path, operation) for method, path, operation in OPERATIONS if "{" in path]


def filled(path, value="01a20ac7-784f-712d-8112-15c292557957"):
    return PARAMETER.sub(value, path)


def call(http, method, path, headers=None, **more):
    return http.simulate_request(method.upper(), filled(path), headers={"Host": "localhost", **(headers or {})}, **more)


def assert_envelope(answer, status, code=None):
    assert answer.status_code == status, answer.text
    body = answer.json
    assert set(body) == {"success", "error", "message", "detail", "details", "correlation_id"}
    assert body["success"] is False
    assert body["correlation_id"] == answer.headers["X-Correlation-ID"]
    if code:
        assert body["error"] == code


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "bearer",
    [None, "Basic abc", "Bearer", "Bearer x", "Bearer a.b.c", "Bearer " + "é" * 20, "Bearer eyJhbGciOiJub25lIn0.e30."],
)
def test_without_a_valid_bearer_nobody_gets_in(http, method, path, bearer):
    answer = call(http, method, path, {"Authorization": bearer.encode().decode("latin-1")} if bearer else None, json={})
    assert_envelope(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_a_refresh_token_and_a_forged_or_expired_one_open_nothing(http, signed, method, path):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from models.auth.key_file import keyset
    from models.auth.signing_keys import Key, KeySet

    _, user = signed()
    moment = int(time.time())
    claims = {
        "sub": f"user:{user.id}",
        "iss": settings.app_name,
        "aud": ["agent-api"],
        "token_use": "access",
        "iat": moment - 9999,
        "exp": moment - 5000,
        "tenant_id": str(user.id),
    }
    expired = keyset().sign(claims)
    forged = KeySet([Key(keyset().active.kid, Ed25519PrivateKey.generate(), keyset().last_modified)]).sign(
        {**claims, "exp": moment + 99}
    )
    refresh = keyset().sign({**claims, "exp": moment + 99, "token_use": "refresh"})
    elsewhere = keyset().sign({**claims, "exp": moment + 99, "iss": "somebody"})
    machine = keyset().sign({**claims, "exp": moment + 99, "sub": "service-account:x"})
    for token in (expired, forged, refresh, elsewhere, machine):
        assert_envelope(call(http, method, path, {"Authorization": f"Bearer {token}"}, json={}), 401)


@pytest.mark.parametrize(
    ("method", "path", "operation"), [entry for entry in OPERATIONS if entry[2].guard and entry[2].guard.verified]
)
def test_an_unverified_address_is_told_to_verify(http, signed, method, path, operation):
    headers, _ = signed("owner", verified=False)
    assert_envelope(call(http, method, path, headers, json={}), 403, "email_not_verified")


@pytest.mark.parametrize(
    ("method", "path", "operation"), [entry for entry in OPERATIONS if entry[2].guard and entry[2].guard.role]
)
def test_tenant_headers_may_repeat_and_lower_but_never_change_or_raise(http, signed, method, path, operation):
    headers, _ = signed("viewer")
    other = {**headers, "X-Tenant-Id": "01a20ac7-784f-712d-8112-15c292557957"}
    code = "insufficient_role" if operation.guard.override else "tenant_mismatch"
    assert_envelope(call(http, method, path, other, json={}), 403, code)
    assert_envelope(call(http, method, path, {**headers, "X-Tenant-Role": "owner"}, json={}), 403, "insufficient_role")


@pytest.mark.parametrize("role", ["viewer", "member", "admin", "owner"])
@pytest.mark.parametrize(("method", "path", "operation"), BY_NAME)
def test_ids_of_nobody_are_unknown_whoever_asks(http, signed, role, method, path, operation):
    from models.platform.principal import Principal, scopes_for

    headers, user = signed(role)
    who = Principal(user.id, user.id, role, frozenset(scopes_for(role)))
    guard = operation.guard
    allowed = (not guard.scope or who.has_scope(guard.scope)) and who.has_role(guard.role or "viewer")
    for value in ("01a20ac7-784f-712d-8112-15c292557957", "no-such-thing", "x" * 300):
        answer = http.simulate_request(method.upper(), filled(path, value), headers=headers, json={})
        fits = ":uuid" not in path or value.startswith("01a2")
        assert_envelope(answer, 403 if fits and not allowed else 404)


BROKEN = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"1",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"message": NaN, "a":',
    b"{}",
    b'{"\\u0000": 1}',
    b'{"message": {"a": []}, "email": 5, "refresh_token": {}, "password": null}',
    b'{"message": "a\\u0000b", "email": "\\ud800"}',
]


def fits(schema, raw):
    """Whether a body without any required field is what the schema takes."""
    return not schema.model_json_schema().get("required") and raw in (b"{}", BROKEN[-2])


@pytest.mark.parametrize(
    ("method", "path", "operation", "raw"),
    [(*entry, raw) for entry in WITH_BODY for raw in BROKEN if not fits(entry[2].body, raw)],
)
def test_a_body_that_does_not_fit_is_a_422_that_echoes_nothing(http, signed, method, path, operation, raw):
    headers, _ = signed("owner", operator=True)
    answer = call(http, method, path, {**headers, "Content-Type": "application/json"}, body=raw)
    assert_envelope(answer, 422, "validation_error")
    assert answer.json["detail"] and all(set(problem) == {"loc", "msg", "type"} for problem in answer.json["detail"])


@pytest.mark.parametrize(("method", "path", "operation"), WITH_BODY)
def test_other_content_types_and_oversize_bodies_are_refused(http, signed, method, path, operation):
    headers, _ = signed("owner", operator=True)
    assert_envelope(call(http, method, path, {**headers, "Content-Type": "text/plain"}, body="x=1"), 415)
    large = b'{"message": "' + b"x" * (settings.request_body_limit_bytes + 1) + b'"}'
    assert_envelope(
        call(http, method, path, {**headers, "Content-Type": "application/json"}, body=large), 413, "body_too_large"
    )


def test_a_password_never_comes_back_in_an_error(http):
    answer = http.simulate_post(
        "/api/v1/auth/token", json={"email": "no address", "password": "s3cret-s3cret", "tenant_id": 7}
    )
    assert answer.status_code == 422 and "s3cret" not in answer.text


def test_unknown_paths_and_methods_answer_in_the_envelope(http):
    assert_envelope(http.simulate_get("/nowhere"), 404, "not_found")
    wrong = http.simulate_put("/api/v1/chat")
    assert_envelope(wrong, 405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]


def test_every_answer_carries_its_correlation_id_and_the_security_headers(http):
    mine = http.simulate_get("/health", headers={"X-Correlation-ID": "trace-12345678"})
    assert mine.headers["X-Correlation-ID"] == "trace-12345678"
    assert mine.headers["X-Content-Type-Options"] == "nosniff"
    assert float(mine.headers["X-Process-Time"]) >= 0
    odd = http.simulate_get("/health", headers={"X-Correlation-ID": "a b\tc"})
    assert odd.headers["X-Correlation-ID"] != "a b\tc"


def test_a_stranger_of_a_host_is_refused_but_probes_are_not(http):
    assert_envelope(http.simulate_get("/", headers={"Host": "evil.example"}), 400, "invalid_host")
    assert http.simulate_get("/health", headers={"Host": "10.0.0.7"}).status_code == 200


def test_browsers_of_known_origins_are_let_in_and_may_read_our_headers(http):
    known = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = http.simulate_options("/api/v1/chat", headers=known)
    assert answer.status_code == 200 and answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    plain = http.simulate_get("/health", headers={"Origin": "http://localhost:3000"})
    assert "X-Run-Id" in plain.headers["Access-Control-Expose-Headers"]
    stranger = http.simulate_get("/health", headers={"Origin": "http://evil.example"})
    assert "Access-Control-Allow-Origin" not in stranger.headers


def test_head_is_get_without_the_body(http):
    answer = http.simulate_head("/health")
    assert (answer.status_code, answer.content) == (200, b"")


def test_metrics_show_the_promised_names_before_anything_happened(http):
    text = http.simulate_get("/metrics").text
    for name in ("jwks_requests_total", "jwt_verifications_total", "http_requests_total", "rate_limit_hits_total"):
        assert name in text


def test_the_public_keys_are_cached_by_their_etag(http):
    first = http.simulate_get("/.well-known/jwks.json")
    assert first.json["keys"][0]["crv"] == "Ed25519" and "d" not in first.json["keys"][0]
    tag = first.headers["ETag"]
    for given in (tag, f'"other", {tag}', "*"):
        same = http.simulate_get("/.well-known/jwks.json", headers={"If-None-Match": given})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)


def test_a_rotation_changes_the_public_keys_and_their_etag(http, monkeypatch, configure, tmp_path):
    from models.auth import key_file

    configure(auth_key_storage_path=str(tmp_path / "keyset.json"))
    monkeypatch.setattr(key_file, "LOOK_SECONDS", 0)
    before = http.simulate_get("/.well-known/jwks.json")
    key_file.rotate(tmp_path / "keyset.json")
    tag = {"If-None-Match": before.headers["ETag"]}
    after = http.simulate_get("/.well-known/jwks.json", headers=tag)
    assert after.status_code == 200 and after.headers["ETag"] != before.headers["ETag"]
    active, following = [key["kid"] for key in before.json["keys"]]
    kids = [key["kid"] for key in after.json["keys"]]
    assert kids[0] == following and kids[2] == active and kids[1] not in (active, following)
    assert all(set(key) == {"kty", "crv", "kid", "x", "use", "alg"} for key in after.json["keys"])


def test_a_revocation_is_not_hidden_by_a_date(http, monkeypatch, configure, tmp_path):
    from datetime import UTC, datetime, timedelta

    from models.auth import key_file, signing_keys

    path = tmp_path / "keyset.json"
    configure(auth_key_storage_path=str(path))
    monkeypatch.setattr(key_file, "LOOK_SECONDS", 0)
    moment = datetime.now(UTC).replace(microsecond=0)
    for module in (key_file, signing_keys):
        monkeypatch.setattr(module, "now", lambda: moment)
    key_file.create(path)
    key_file.rotate(path)
    retired = key_file.keyset().keys[2].kid
    seen = {"If-Modified-Since": http.simulate_get("/.well-known/jwks.json").headers["Last-Modified"]}
    assert http.simulate_get("/.well-known/jwks.json", headers=seen).status_code == 304
    moment += timedelta(seconds=1)
    key_file.revoke(path, [retired])
    answer = http.simulate_get("/.well-known/jwks.json", headers=seen)
    assert answer.status_code == 200 and retired not in answer.text


def test_the_description_is_openapi_3_1_and_names_every_route(http):
    api = json.loads(http.simulate_get("/openapi.json").content)
    assert api["openapi"].startswith("3.1")
    assert {(method, PARAMETER.sub(r"{\1}", path)) for method, path, _ in OPERATIONS} == {
        (m, p) for p, methods in api["paths"].items() for m in methods
    }


def test_a_responder_without_a_guard_stops_the_start():
    from edge.endpoint import Route

    class Careless:
        def on_get(self, req, resp):
            pass

    with pytest.raises(RuntimeError, match="GET /oops has neither @endpoint nor @undocumented"):
        Route("/oops", Careless()).operations  # noqa: B018
