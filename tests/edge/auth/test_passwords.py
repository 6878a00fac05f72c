"""Changing one's own password, and an admin's reset."""

from uuid import uuid4

import pytest

from models.auth.tenants import Tenant
from models.auth.users import User
from models.platform.audit import AuditEvent
from models.platform.principal import RANK
from tests.support.accounts import (
    CHEAP_HASHER,
    NEW,
    PASSWORD,
    REUSED,
    WEAK,
    WRONG,
    InterruptedHasher,
    bearer,
    comparable,
    failures,
    join_another,
    lock,
    reloaded,
    status_and_message,
)

# ---------------------------------------------------------------- changing


def test_changing_the_password_ends_every_session_and_mails_the_user(sign_in, change, post, alive, user, notices):
    here, there = sign_in().json, sign_in().json
    assert status_and_message(change(bearer(here))) == (200, "Password updated successfully")
    assert not alive(bearer(here)) and not alive(bearer(there))
    assert post("refresh", refresh_token=there["refresh_token"]).status_code == 401
    assert (sign_in().status_code, sign_in(NEW).status_code) == (401, 200)
    assert notices() == [("password_changed", user.id)]
    [event] = AuditEvent.select().where(AuditEvent.action == "auth.password_change")
    assert (event.actor, event.subject, event.ip) == (f"user:{user.id}", f"user:{user.id}", "127.0.0.1")


def test_wrong_current_passwords_change_nothing_and_stop_that_session_from_guessing(
    sign_in, change, user, alive, jobs_named
):
    guessing, other = sign_in().json, sign_in().json
    for _ in range(5):
        assert status_and_message(change(bearer(guessing), current=WRONG)) == (401, "Invalid current password.")
    assert [job.args for job in jobs_named("mail.locked")] == [{"email": user.email}]
    assert status_and_message(change(bearer(guessing))) == (423, "Account is locked.")
    assert alive(bearer(guessing)), "somebody who guesses cannot end the owner's session"
    assert reloaded(user).password_hash == user.password_hash
    assert failures(user) == 0 and sign_in().status_code == 200, "nor keep the owner from signing in"
    assert change(bearer(other)).status_code == 200


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
def test_a_rejected_new_password_changes_nothing(sign_in, change, alive, user, notices, new, status, message):
    headers = bearer(sign_in().json)
    assert status_and_message(change(headers, new)) == (status, message)
    assert alive(headers) and reloaded(user).password_hash == user.password_hash and notices() == []


def test_an_unverified_user_may_change_their_password(signed, change, alive):
    headers, _ = signed(verified=False)
    assert change(headers).status_code == 200
    assert not alive(headers)


def test_a_deleted_user_cannot_change_a_password(signed, change, alive):
    headers, user = signed()
    assert alive(headers)
    user.delete_instance()
    assert status_and_message(change(headers)) == (401, "Unknown user.")


def test_a_change_during_another_change_is_a_conflict(sign_in, http_with, alive, user, notices):
    headers = bearer(sign_in().json)

    def change_meanwhile(password):
        User.update(password_hash="another hash").execute()

    http = http_with(InterruptedHasher(before_hash=change_meanwhile))
    body = {"current_password": PASSWORD, "new_password": NEW}
    answer = http.simulate_post("/api/v1/auth/password/change", json=body, headers=headers)
    assert (answer.status_code, answer.json["error"]) == (409, "password_changed_meanwhile")
    assert reloaded(user).password_hash == "another hash" and alive(headers) and notices() == []


# ---------------------------------------------------------------- an admin's reset


@pytest.mark.parametrize("caller", RANK)
@pytest.mark.parametrize("target", RANK)
def test_only_admins_set_passwords_and_only_for_lower_roles(signed, reset, caller, target):
    (headers, _), (_, user) = signed(caller), signed(target)
    allowed = RANK[caller] >= RANK["admin"] and RANK[caller] > RANK[target]
    assert reset(headers, user.id).status_code == (200 if allowed else 403)
    assert CHEAP_HASHER.matches(reloaded(user).password_hash, NEW if allowed else PASSWORD)


def test_an_admins_reset_ends_the_sessions_unlocks_and_mails_the_user(signed, reset, alive, sign_in, notices):
    (admin, me), (theirs, user) = signed("admin"), signed()
    lock(user)
    assert status_and_message(reset(admin, user.id)) == (200, "Password reset successfully")
    assert alive(admin) and not alive(theirs)
    assert sign_in(NEW, email=user.email).status_code == 200
    assert notices() == [("password_reset", user.id)]
    [event] = AuditEvent.select().where(AuditEvent.action == "auth.password_reset")
    assert (event.actor, event.subject) == (f"user:{me.id}", f"user:{user.id}")


def test_admins_cannot_reset_their_own_password(signed, reset):
    headers, me = signed("owner")
    assert reset(headers, me.id).status_code == 403


def test_an_owner_acting_as_admin_has_only_an_admins_rights(signed, reset):
    (owner, _), (_, admin) = signed("owner"), signed("admin")
    assert reset({**owner, "X-Tenant-Role": "admin"}, admin.id).status_code == 403


def test_users_of_other_tenants_are_not_found(signed, reset):
    headers, _ = signed("owner")
    _, stranger = signed(tenant=Tenant.create(slug="other", name="Other"))
    nobody = reset(headers, uuid4())
    assert status_and_message(nobody) == (404, "Unknown user.")
    assert comparable(reset(headers, stranger.id)) == comparable(nobody)
    assert reloaded(stranger).password_hash == stranger.password_hash


def test_a_user_of_several_tenants_cannot_be_reset_by_an_admin(signed, reset, alive):
    (admin, _), (theirs, user) = signed("owner"), signed()
    join_another(user)
    answer = reset(admin, user.id)
    assert (answer.status_code, answer.json["error"]) == (403, "reset_not_allowed")
    assert alive(theirs) and reloaded(user).password_hash == user.password_hash


def test_an_unverified_admin_cannot_set_passwords(signed, reset):
    (admin, _), (_, user) = signed("admin", verified=False), signed()
    assert status_and_message(reset(admin, user.id)) == (403, "Email verification required.")


@pytest.mark.parametrize(("new", "message"), [(PASSWORD, REUSED), ("Password123456789", WEAK)])
def test_the_policy_applies_to_admins_resets_too(signed, reset, alive, new, message):
    (admin, _), (theirs, user) = signed("admin"), signed()
    assert status_and_message(reset(admin, user.id, new)) == (400, message)
    assert alive(theirs)
