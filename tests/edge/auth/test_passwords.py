"""Changing a password, and setting somebody else's."""

from uuid import uuid4

import pytest

from models.auth import password_login, passwords
from models.auth.tenants import Tenant
from models.auth.users import User
from models.platform.audit import AuditEvent
from models.platform.principal import RANK
from tests.support.accounts import (
    NEW,
    PASSWORD,
    REUSED,
    WEAK,
    WRONG,
    bearer,
    fresh,
    is_locked,
    join_another,
    lock,
    same,
    told,
)

pytestmark = pytest.mark.usefixtures("cheap_hashing")

# ---------------------------------------------------------------- changing


def test_a_changed_password_ends_every_session_and_is_noticed(sign_in, change, post, alive, user, notices):
    here, there = sign_in().json, sign_in().json
    assert told(change(bearer(here))) == (200, "Password updated successfully")
    assert not alive(bearer(here)) and not alive(bearer(there))
    assert post("refresh", refresh_token=there["refresh_token"]).status_code == 401
    assert (sign_in().status_code, sign_in(NEW).status_code) == (401, 200)
    assert notices() == [("password_changed", user.id)]
    [event] = AuditEvent.select().where(AuditEvent.action == "auth.password_change")
    assert (event.actor, event.subject, event.ip) == (f"user:{user.id}", f"user:{user.id}", "127.0.0.1")


def test_without_the_current_password_none_is_changed_and_guessing_locks(sign_in, change, user, alive, notices):
    tokens = sign_in().json
    for failures in (1, 2, 3, 4):
        assert told(change(bearer(tokens), current=WRONG)) == (401, "Invalid current password.")
        assert fresh(user).failures == failures
    assert told(change(bearer(tokens), current=WRONG)) == (401, "Invalid current password.")
    assert is_locked(user) and notices() == [("account_locked", user.id)]
    assert told(change(bearer(tokens))) == (423, "Account is locked.")
    assert alive(bearer(tokens)), "whoever guesses cannot throw the owner out"
    assert fresh(user).password_hash == user.password_hash


@pytest.mark.parametrize(
    ("new", "status", "message"),
    [
        (PASSWORD, 400, REUSED),
        ("kV7$wq!Zp2Xr9", 422, "Request validation failed."),
        ("violettractorumbrella", 400, "Password must include at least two categories (upper, lower, digit, symbol)."),
        ("Password123456789", 400, WEAK),
        ("jo@example.com", 400, WEAK),
        (NEW * 500, 400, "Password must be at most 256 characters long."),
    ],
)
def test_a_new_password_that_may_not_be_chosen_changes_nothing(
    sign_in, change, alive, user, notices, new, status, message
):
    headers = bearer(sign_in().json)
    assert told(change(headers, new)) == (status, message)
    assert alive(headers) and fresh(user).password_hash == user.password_hash and notices() == []


def test_who_has_not_verified_their_address_may_change_their_password(signed, change, alive):
    headers, _ = signed(verified=False)
    assert change(headers).status_code == 200
    assert not alive(headers)


def test_a_user_who_is_gone_changes_nothing(signed, change, alive):
    headers, user = signed()
    assert alive(headers)
    user.delete_instance()
    assert told(change(headers)) == (401, "Unknown user.")


def test_a_change_that_another_one_overtook_is_a_conflict(sign_in, change, alive, user, notices, monkeypatch):
    headers, choose = bearer(sign_in().json), password_login.choose

    def overtaken(*args):
        chosen = choose(*args)
        User.update(password_hash="another one").execute()
        return chosen

    monkeypatch.setattr(password_login, "choose", overtaken)
    answer = change(headers)
    assert (answer.status_code, answer.json["error"]) == (409, "password_changed_meanwhile")
    assert fresh(user).password_hash == "another one" and alive(headers) and notices() == []


# ---------------------------------------------------------------- an admin's reset


@pytest.mark.parametrize("caller", RANK)
@pytest.mark.parametrize("target", RANK)
def test_a_password_is_set_only_by_admins_and_only_below_them(signed, reset, caller, target):
    (headers, _), (_, user) = signed(caller), signed(target)
    allowed = RANK[caller] >= RANK["admin"] and RANK[caller] > RANK[target]
    assert reset(headers, user.id).status_code == (200 if allowed else 403)
    assert passwords.matches(fresh(user).password_hash, NEW if allowed else PASSWORD)


def test_a_reset_by_an_admin_ends_the_users_sessions_and_lock_and_is_noticed(signed, reset, alive, sign_in, notices):
    (admin, me), (theirs, user) = signed("admin"), signed()
    lock(user)
    assert told(reset(admin, user.id)) == (200, "Password reset successfully")
    assert alive(admin) and not alive(theirs)
    assert sign_in(NEW, email=user.email).status_code == 200
    assert notices() == [("password_reset", user.id)]
    [event] = AuditEvent.select().where(AuditEvent.action == "auth.password_reset")
    assert (event.actor, event.subject) == (f"user:{me.id}", f"user:{user.id}")


def test_nobody_sets_their_own_password_without_the_old_one(signed, reset):
    headers, me = signed("owner")
    assert reset(headers, me.id).status_code == 403


def test_an_owner_who_acts_as_an_admin_may_do_no_more_than_an_admin(signed, reset):
    (owner, _), (_, admin) = signed("owner"), signed("admin")
    assert reset({**owner, "X-Tenant-Role": "admin"}, admin.id).status_code == 403


def test_users_of_other_tenants_are_unknown_to_an_admin(signed, reset):
    headers, _ = signed("owner")
    _, stranger = signed(tenant=Tenant.create(slug="other", name="Other"))
    nobody = reset(headers, uuid4())
    assert told(nobody) == (404, "Unknown user.")
    assert same(reset(headers, stranger.id)) == same(nobody)
    assert fresh(stranger).password_hash == stranger.password_hash


def test_who_belongs_to_other_tenants_too_is_not_in_one_admins_hands(signed, reset, alive):
    (admin, _), (theirs, user) = signed("owner"), signed()
    join_another(user)
    answer = reset(admin, user.id)
    assert (answer.status_code, answer.json["error"]) == (403, "reset_not_allowed")
    assert alive(theirs) and fresh(user).password_hash == user.password_hash


def test_an_admin_with_an_unverified_address_sets_no_password(signed, reset):
    (admin, _), (_, user) = signed("admin", verified=False), signed()
    assert told(reset(admin, user.id)) == (403, "Email verification required.")


@pytest.mark.parametrize(("new", "message"), [(PASSWORD, REUSED), ("Password123456789", WEAK)])
def test_the_rules_for_passwords_bind_admins_too(signed, reset, alive, new, message):
    (admin, _), (theirs, user) = signed("admin"), signed()
    assert told(reset(admin, user.id, new)) == (400, message)
    assert alive(theirs)
