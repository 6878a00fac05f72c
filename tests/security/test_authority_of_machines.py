"""A service token ends with the rights of who issued it; operator scopes are for verified addresses."""

import time

import pytest

from models.auth import authority, authority_cache, operators, service_account_catalogue, token_refresh
from models.auth.service_token_issuing import ServiceTokenRequest, issue
from models.auth.service_tokens import ServiceToken
from models.auth.users import User
from models.platform.principal import OPERATOR, Root
from tests.support.accounts import count_events, log_in, status_and_message
from tests.support.changes import (
    change_role,
    disable,
    issued,
    remove,
)

INVITES = "/api/v1/auth/invites"  # for operators


# ---------------------------------------------------------------- service tokens


ISSUER_CHANGES = {
    "lowered": lambda user: change_role(user, "member"),
    "removed": remove,
    "disabled": disable,
    "deleted": lambda user: user.delete_instance(),
}
LOST = "Who issued the token has lost the right to. Have it issued again."


@pytest.mark.parametrize("change", ISSUER_CHANGES)
def test_a_service_token_ends_with_the_rights_of_its_issuer(signed, owner, status, post, monkeypatch, change):
    if change == "deleted":  # no verb deletes a user
        monkeypatch.setattr(authority_cache, "LIFE_SECONDS", 0.01)
    _, user = signed("admin")
    headers, token = issued(user)
    assert status(headers, "/api/v1/conversations") == 200
    ISSUER_CHANGES[change](user)
    time.sleep(0.02 if change == "deleted" else 0)
    assert status(headers, "/api/v1/conversations") == 401
    refused = post("refresh", refresh_token=token)
    expected = "Refresh token has been revoked or expired." if change == "deleted" else LOST
    assert status_and_message(refused) == (401, expected)


def test_a_service_token_loses_only_the_scopes_that_its_issuer_lost(signed, owner):
    _, user = signed("admin")
    operators.grant(user.email, ["support:*"], by=Root("test"))
    catalogue = service_account_catalogue.catalogue()
    wide = catalogue["billing-worker"].model_copy(update={"scopes": ["billing:read", "chat:write"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue, "billing-worker", wide)
        _, token = issued(user, "billing-worker", ["billing:read", "chat:write"])
        assert token_refresh.refresh(token).scopes == ["billing:read", "chat:write"]
        operators.revoke(user.email, ["support:*"], by=Root("test"))
        assert token_refresh.refresh(token).scopes == ["billing:read"]


def test_a_machine_of_an_operator_ends_with_the_grant(signed, status, post, tenant):
    _, user = signed("viewer")
    operators.grant(user.email, ["support:*"], by=Root("test"))
    headers, token = issued(user, "support-console", ["support:*"], elsewhere=True)
    headers |= {"X-Tenant-Id": str(tenant.id), "X-Operator-Reason": "a customer called"}
    before = status(headers, "/api/v1/conversations")
    operators.revoke(user.email, ["support:*"], by=Root("test"))
    assert (before, status(headers, "/api/v1/conversations")) == (200, 401)
    assert status_and_message(post("refresh", refresh_token=token)) == (401, LOST)


def test_a_service_token_of_a_deployment_rests_on_nobody(tenant, owner, status):
    request = ServiceTokenRequest("analytics-batch", ["conversations:read"], str(tenant.id))
    stored, token = issue(request, by=Root("signer:ci"))
    headers = {"Authorization": f"Bearer {token_refresh.refresh(token).access_token}"}
    disable(owner)
    assert stored.issuer_id is None and status(headers, "/api/v1/conversations") == 200


def test_a_token_that_names_a_user_only_in_text_rests_on_nobody_and_gives_nothing(signed, status):
    """As an edge of the previous version writes it, while a new one is being rolled out."""
    _, user = signed("admin")
    headers, _ = issued(user)
    ServiceToken.update(issuer_id=None).execute()
    assert status(headers, "/api/v1/conversations") == 401


def test_an_access_token_loses_the_scopes_that_the_catalogue_took_away(signed, status, monkeypatch):
    monkeypatch.setattr(authority_cache, "LIFE_SECONDS", 0.01)
    _, user = signed("admin")
    headers, _ = issued(user)
    assert status(headers, "/api/v1/conversations") == 200
    monkeypatch.setattr(authority, "catalogue", dict)
    time.sleep(0.02)
    assert status(headers, "/api/v1/conversations") == 401


# ---------------------------------------------------------------- operators


def test_an_unverified_address_is_not_granted_anything(signed):
    _, user = signed("member", verified=False)
    with pytest.raises(operators.AddressNotVerified):
        operators.grant(user.email, list(OPERATOR), by=Root("test"))
    assert operators.scopes_of(user.id) == [] and count_events("operator.granted") == 0


def test_an_operator_whose_address_is_no_longer_verified_has_no_operator_scopes(signed, status, monkeypatch):
    monkeypatch.setattr(authority_cache, "LIFE_SECONDS", 0.01)
    headers, user = signed("owner", operator=True)
    assert status(headers, INVITES) == 200
    User.update(email_verified_at=None).where(User.id == user.id).execute()
    time.sleep(0.02)
    assert status(headers, INVITES) == 403
    assert not set(OPERATOR) & set(log_in(user.email).scopes)
    assert operators.operators_with("auth:invites") == []
