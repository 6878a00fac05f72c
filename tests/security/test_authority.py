"""Nothing that a token says outlives the truth: role, membership, status and grants count as they are now."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.auth import authority, authority_cache, operators
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.auth.users import AlreadyMember, Membership, UnknownRole, User
from models.platform.audit import AuditEvent
from models.platform.database import release
from models.platform.principal import Root
from models.platform.redis import redis_client
from tests.support.accounts import PASSWORD, bearer, log_in
from tests.support.changes import CHANGES, change_role, committed, disable, membership_of, remove

TOKENS = "/api/v1/auth/service-accounts/tokens"  # for admins
INVITES = "/api/v1/auth/invites"  # for operators
AWAY = "redis://127.0.0.1:1/0"


# ---------------------------------------------------------------- users


def test_a_lowered_role_counts_at_once_and_the_session_goes_on(signed, status):
    headers, user = signed("admin")
    assert status(headers) == 200
    change_role(user, "viewer")
    assert (status(headers), status(headers, "/api/v1/conversations")) == (403, 200)


def test_a_raised_role_counts_at_once(signed, status):
    headers, user = signed("viewer")
    assert status(headers) == 403
    change_role(user, "admin")
    assert status(headers) == 200


def test_a_removed_member_is_signed_out_of_this_tenant_only(signed, status, http):
    headers, user = signed("member")
    other = Tenant.create(slug="other", name="Other")
    committed(Membership.add, user.id, other.id, "viewer")
    body = {"email": user.email, "password": PASSWORD, "tenant_id": str(other.id)}
    elsewhere = bearer(http.simulate_post("/api/v1/auth/token", json=body).json)
    committed(Membership.get(user=user.id, tenant=membership_of(user).tenant_id).remove)
    assert (status(headers, "/api/v1/conversations"), status(headers, "/api/v1/auth/me")) == (401, 401)
    assert status(elsewhere, "/api/v1/conversations") == 200


def test_a_member_who_comes_back_has_to_sign_in_again(signed, status):
    headers, user = signed("member")
    tenant_id = membership_of(user).tenant_id
    remove(user)
    committed(Membership.add, user.id, tenant_id, "member")
    assert status(headers, "/api/v1/conversations") == 401


def test_a_disabled_user_is_signed_out_and_signs_in_again_when_enabled(signed, status, post):
    headers, user = signed("member")
    tokens = log_in(user.email)
    assert status(headers, "/api/v1/auth/me") == 200
    disable(user)
    assert status(headers, "/api/v1/auth/me") == 401
    assert post("refresh", refresh_token=tokens.refresh_token).status_code == 401
    assert post("token", email=user.email, password=PASSWORD).status_code == 403
    committed(User.get_by_id(user.id).enable, reason="a mistake")
    assert status(headers, "/api/v1/auth/me") == 401
    assert post("token", email=user.email, password=PASSWORD).status_code == 200
    events = AuditEvent.select().where(AuditEvent.action.startswith("user.")).order_by(AuditEvent.id)
    assert [(event.action, event.actor, event.reason) for event in events] == [
        ("user.disabled", "test", "test"),
        ("user.enabled", "test", "a mistake"),
    ]


def test_a_status_that_was_changed_by_hand_counts_after_the_life_of_an_entry(signed, status, monkeypatch):
    monkeypatch.setattr(authority_cache, "LIFE_SECONDS", 0.2)
    headers, user = signed("member")
    assert status(headers, "/api/v1/auth/me") == 200
    User.update(status="disabled").where(User.id == user.id).execute()
    time.sleep(0.25)
    assert status(headers, "/api/v1/auth/me") == 401


def test_a_grant_counts_at_once_and_so_does_its_end(signed, status):
    headers, user = signed("viewer")
    assert status(headers, INVITES) == 403
    operators.grant(user.email, ["auth:invites"], by=Root("test"))
    assert status(headers, INVITES) == 200
    operators.revoke(user.email, ["auth:invites"], by=Root("test"))
    assert (status(headers, INVITES), status(headers, "/api/v1/auth/me")) == (403, 200)


def test_an_unknown_role_or_a_second_membership_is_refused(signed, owner):
    _, user = signed("member")
    with pytest.raises(AlreadyMember):
        committed(Membership.add, user.id, membership_of(owner).tenant_id, "admin")
    with pytest.raises(UnknownRole):
        change_role(user, "emperor")
    assert membership_of(user).role == "member"


def test_every_change_of_a_membership_is_audited(signed, owner):
    _, user = signed("member")
    change_role(user, "admin")
    remove(user)
    events = AuditEvent.select().where(AuditEvent.action.startswith("membership.")).order_by(AuditEvent.id)
    assert [(event.action, event.subject, event.details) for event in events] == [
        ("membership.role_changed", f"user:{user.id}", {"before": "member", "role": "admin"}),
        ("membership.removed", f"user:{user.id}", {"role": "admin"}),
    ]
    assert {event.tenant_id for event in events} == {membership_of(owner).tenant_id}


# ---------------------------------------------------------------- the cache


@pytest.mark.parametrize("change", CHANGES)
def test_an_old_truth_lives_five_seconds_at_most_if_redis_was_away_at_the_change(
    signed, status, configure, monkeypatch, change
):
    assert authority_cache.LIFE_SECONDS <= 5
    monkeypatch.setattr(authority_cache, "LIFE_SECONDS", 0.4)
    headers, user = signed("admin")
    began = time.monotonic()
    assert status(headers) == 200
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(
            authority_cache, "_mark_changed", lambda keys: None
        )  # as if the process had died after the commit
        CHANGES[change](user)
    while time.monotonic() < began + 0.45:
        time.sleep(0.05)
    assert status(headers) in (401, 403)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_counts_while_redis_is_away(signed, status, configure, change):
    headers, user = signed("admin")
    assert status(headers) == 200
    configure(redis_url=AWAY)
    CHANGES[change](user)
    assert status(headers) in (401, 403)


def test_a_slow_reader_does_not_bring_the_old_truth_back(signed, status, monkeypatch):
    headers, user = signed("admin")
    read = authority._read

    def slow(holder_id):
        text = read(holder_id)
        change_role(user, "viewer")
        return text

    with monkeypatch.context() as patch:
        patch.setattr(authority, "_read", slow)
        assert status(headers) == 200, "this request was under way"
    assert status(headers) == 403


def test_a_reader_that_is_slower_than_an_entry_lives_stores_nothing(signed, monkeypatch):
    _, user = signed("admin")
    session = Session.get(Session.user_id == user.id)
    monkeypatch.setattr(authority_cache, "LIFE_SECONDS", 0.05)
    authority_cache.load(session.id, lambda holder_id: time.sleep(0.1) or b"owner 1")
    assert redis_client().keys("authority:*") == []


def test_who_can_write_to_redis_cannot_give_rights(signed, status):
    headers, user = signed("viewer")
    admin, _ = signed("admin")
    key = f"authority:{Session.get(Session.user_id == user.id).id}"
    assert (status(admin), status(headers)) == (200, 403)
    [other] = [name for name in redis_client().keys("authority:*") if name != key.encode()]
    for forged in (b"owner 1 support:*", bytes(32) + b"owner 1 support:*", redis_client().get(other)):
        redis_client().set(key, forged)
        assert status(headers) == 403


def test_a_hundred_requests_see_a_change_from_the_moment_at_which_it_was_made(signed, http):
    headers, user = signed("admin")
    answers, stop = [], []

    def ask(_):
        while not stop:
            began = time.monotonic()
            answers.append((began, http.simulate_get(TOKENS, headers=headers).status_code))

    with ThreadPoolExecutor(8) as pool:
        work = pool.map(ask, range(8))
        while len(answers) < 50:
            time.sleep(0.01)
        change_role(user, "viewer")
        changed_at = time.monotonic()
        while len(answers) < 150:
            time.sleep(0.01)
        stop.append(True)
        list(work)
    release()
    assert {code for _, code in answers} == {200, 403}
    assert {code for began, code in answers if began > changed_at} == {403}
