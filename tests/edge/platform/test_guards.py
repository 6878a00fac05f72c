"""Who may call which operation, taken from the route table."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.endpoint import Route, undocumented
from models.auth.key_file import Key, KeySet, keyset
from models.platform.authorization import Action, may
from models.platform.principal import OPERATOR, Principal, scopes_for
from models.platform.settings import settings
from tests.support.routes import (
    ALWAYS_GONE,
    GUARDED,
    TENANT_ONLY,
    TOKEN_OR_ACTION,
    UNKNOWN_ID,
    VERIFIED_ONLY,
    WITH_PARAMETER,
    assert_envelope,
    call,
    fill,
    minimal_body,
)

NO_BEARER = [None, "Basic abc", "Bearer", "Bearer x", "Bearer a.b.c", "Bearer " + "é" * 20]
UNSIGNED = "Bearer eyJhbGciOiJub25lIn0.e30."


@pytest.mark.parametrize(("method", "path", "operation"), GUARDED)
@pytest.mark.parametrize("authorization", [*NO_BEARER, UNSIGNED])
def test_without_a_valid_token_the_answer_is_401(http, method, path, operation, authorization):
    headers = {"Authorization": authorization.encode().decode("latin-1")} if authorization else None
    answer = call(http, method, path, headers, json={})
    assert_envelope(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path", "operation"), GUARDED)
def test_forged_expired_and_refresh_tokens_are_a_401(http, signed, method, path, operation):
    _, user = signed()
    seconds = int(time.time())
    claims = {
        "sub": f"user:{user.id}",
        "iss": settings.app_name,
        "aud": ["agent-api"],
        "token_use": "access",
        "iat": seconds - 9999,
        "exp": seconds + 99,
        "tenant_id": str(user.id),
    }
    forger = KeySet([Key(keyset().active.kid, Ed25519PrivateKey.generate(), keyset().last_modified)])
    tokens = {
        "forged": forger.sign(claims),
        "expired": keyset().sign({**claims, "exp": seconds - 5000}),
        "refresh token": keyset().sign({**claims, "token_use": "refresh"}),
        "other issuer": keyset().sign({**claims, "iss": "somebody"}),
        "service account without a session": keyset().sign({**claims, "sub": "service-account:x"}),
    }
    for token in tokens.values():
        assert_envelope(call(http, method, path, {"Authorization": f"Bearer {token}"}, json={}), 401)


@pytest.mark.parametrize(("method", "path", "operation"), VERIFIED_ONLY)
def test_an_unverified_address_is_a_403(http, signed, method, path, operation):
    """The scopes of operators are for verified addresses only, so their lack is noticed first."""
    headers, _ = signed("owner", verified=False)
    in_reach = operation.action.scopes.isdisjoint(OPERATOR)  # an owner has all scopes but the operators'
    code = "email_not_verified" if in_reach else "insufficient_scope"
    assert_envelope(call(http, method, path, headers, json={}), 403, code)


@pytest.mark.parametrize(("method", "path", "operation"), TENANT_ONLY)
def test_tenant_headers_cannot_change_the_tenant_or_raise_the_role(http, signed, method, path, operation):
    headers, _ = signed("viewer")
    other_tenant = {**headers, "X-Tenant-Id": UNKNOWN_ID}
    code = "insufficient_role" if operation.action.everywhere else "tenant_mismatch"
    assert_envelope(call(http, method, path, other_tenant, json={}), 403, code)
    higher_role = {**headers, "X-Tenant-Role": "owner"}
    assert_envelope(call(http, method, path, higher_role, json={}), 403, "insufficient_role")


@pytest.mark.parametrize("role", ["viewer", "member", "admin", "owner"])
@pytest.mark.parametrize(("method", "path", "operation"), WITH_PARAMETER)
def test_an_unknown_id_is_a_404_for_every_role_that_may_call(http, signed, role, method, path, operation):
    headers, user = signed(role)
    action = TOKEN_OR_ACTION.get((method, path), operation.action)
    allowed = may(Principal(user.id, user.id, role, frozenset(scopes_for(role)), None, True), action)
    for value in (UNKNOWN_ID, "no-such-thing", "x" * 300):
        answer = http.simulate_request(method.upper(), fill(path, value), headers=headers, json=minimal_body(operation))
        is_routed = ":uuid" not in path or value == UNKNOWN_ID
        names_tenant = "{tenant_id}" in path  # another tenant is refused before anything is looked up
        if allowed and is_routed and (method, path) in ALWAYS_GONE:
            assert answer.status_code == 204
        else:
            assert_envelope(answer, 403 if is_routed and (names_tenant or not allowed) else 404)


def test_a_responder_without_an_action_stops_the_start():
    class Undeclared:
        def on_get(self, req, resp):
            pass

    with pytest.raises(RuntimeError, match="GET /oops has neither @endpoint nor @undocumented"):
        Route("/oops", Undeclared()).operations  # noqa: B018


def test_a_responder_with_an_action_that_is_not_in_the_table_stops_the_start():
    class Invented:
        @undocumented(action=Action("greeting.read"))
        def on_get(self, req, resp):
            pass

    with pytest.raises(RuntimeError, match=r"GET /oops has an unknown action, greeting\.read"):
        Route("/oops", Invented()).operations  # noqa: B018
