"""Signing in and refreshing, in the ordinary cases."""

import pytest

from models.auth.tenants import Tenant
from models.auth.users import Membership
from tests.support.accounts import PASSWORD, add_user, bearer


@pytest.fixture
def user(tenant):
    return add_user("Jo@Example.com", PASSWORD, tenant=tenant, role="member", verified=True)


def test_signing_in_answers_with_a_pair_of_tokens_that_no_cache_keeps(http, sign_in, user, tenant):
    answer = sign_in(email="JO@example.COM")
    assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"
    assert answer.json["scopes"] == ["conversations:read", "conversations:write", "tools:read"]
    me = http.simulate_get("/api/v1/auth/me", headers=bearer(answer.json)).json["data"]
    assert (me["user_id"], me["token_payload"]["sid"]) == (str(user.id), answer.json["session_id"])
    assert me["memberships"] == [{"tenant_id": str(tenant.id), "slug": "acme", "name": "Acme", "role": "member"}]


def test_a_member_of_several_tenants_must_choose_one(sign_in, user, tenant):
    other = Tenant.create(slug="other", name="Other")
    Membership.create(user=user.id, tenant=other.id, role="owner")
    answer = sign_in()
    assert answer.status_code == 400
    assert answer.json["details"]["tenants"] == sorted([str(tenant.id), str(other.id)])
    assert sign_in(tenant_id=str(other.id)).json["tenant_id"] == str(other.id)
    assert sign_in(tenant_id=str(user.id)).status_code == 401
    assert sign_in(tenant_id="nonsense").status_code == 401


def test_a_refresh_token_works_once_and_reuse_ends_the_session(sign_in, post, configure):
    configure(auth_refresh_grace_seconds=0)
    first = sign_in().json
    second = post("refresh", refresh_token=first["refresh_token"])
    assert second.status_code == 200 and second.json["session_id"] == first["session_id"]
    assert post("refresh", refresh_token=first["refresh_token"]).status_code == 401
    assert post("refresh", refresh_token=second.json["refresh_token"]).status_code == 401


@pytest.mark.parametrize("token", ["x", "a.b.c", "access"])
def test_only_a_refresh_token_can_be_exchanged(sign_in, post, token):
    value = sign_in().json["access_token"] if token == "access" else token
    assert post("refresh", refresh_token=value).status_code == 401
