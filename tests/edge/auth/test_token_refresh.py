"""Exchanging refresh tokens."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.auth import token_refresh
from models.auth.key_file import keyset
from models.auth.sessions import RefreshToken, Session
from models.auth.signing_keys import Key, KeySet
from models.auth.users import Membership, User
from models.platform.clock import now
from models.platform.database import database, release, transaction
from tests.support.accounts import log_in, status_and_message


def signed(claims, **changes):
    return keyset().sign({name: value for name, value in {**claims, **changes}.items() if value is not None})


def signed_by_an_unknown_key(claims):
    return KeySet([Key("ed25519-stranger", Ed25519PrivateKey.generate(), now())]).sign(claims)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda claims: "a.b.c", "Refresh token verification failed."),
        (signed_by_an_unknown_key, "Refresh token verification failed."),
        (lambda claims: signed(claims, exp=claims["iat"] - 60), "Refresh token verification failed."),
        (lambda claims: signed(claims, token_use="access"), "Token is not a refresh token."),
        (lambda claims: signed(claims, sub="robot:x"), "Refresh token subject is malformed."),
        (lambda claims: signed(claims, jti=None), "Refresh token missing jti claim."),
        (lambda claims: signed(claims, jti=str(uuid4())), "Refresh token has been revoked or expired."),
        (lambda claims: signed(claims, scope="support:*"), "Refresh token has been revoked or expired."),
    ],
)
def test_a_refresh_token_that_was_never_issued_is_refused(sign_in, post, forge, message):
    token = sign_in().json["refresh_token"]
    assert status_and_message(post("refresh", refresh_token=forge(keyset().verify(token)))) == (401, message)
    assert post("refresh", refresh_token=token).status_code == 200


def test_refreshing_does_not_prolong_a_session_beyond_its_maximum(sign_in, post, configure):
    configure(auth_session_max_days=90)
    token = sign_in().json["refresh_token"]
    Session.update(created_at=now() - timedelta(days=89)).execute()
    issued = post("refresh", refresh_token=token).json
    left = keyset().verify(issued["refresh_token"])["exp"] - now().timestamp()
    assert 0 < left <= timedelta(days=1).total_seconds()
    Session.update(created_at=now() - timedelta(days=91)).execute()
    assert post("refresh", refresh_token=issued["refresh_token"]).status_code == 401


@pytest.mark.parametrize("end", ["session", "token", "expiry", "user"])
def test_a_refresh_token_that_has_ended_is_refused(sign_in, post, user, end):
    token = sign_in().json["refresh_token"]
    if end == "session":
        Session.update(revoked_at=now()).execute()
    elif end == "token":
        RefreshToken.update(revoked_at=now(), revoked_reason="user_logout").execute()
    elif end == "expiry":
        RefreshToken.update(expires_at=now()).execute()
    else:
        user.delete_instance()
    assert status_and_message(post("refresh", refresh_token=token)) == (
        401,
        "Refresh token has been revoked or expired.",
    )


@pytest.mark.parametrize(
    ("account", "status", "message"),
    [
        ({"status": "disabled"}, 403, "User is disabled."),
        ({"status": "pending"}, 403, "User is pending."),
        (None, 401, "User is not a member of the requested tenant."),
    ],
)
def test_a_refusal_because_of_the_account_does_not_use_up_the_token(
    sign_in, post, user, tenant, account, status, message
):
    token = sign_in().json["refresh_token"]
    if account:
        User.update(**account).execute()
    else:
        Membership.delete().execute()
    assert status_and_message(post("refresh", refresh_token=token)) == (status, message)
    User.update(status="active").execute()
    Membership.get_or_create(user=user.id, tenant=tenant.id, defaults={"role": "viewer"})
    assert post("refresh", refresh_token=token).status_code == 200


def test_a_refresh_and_ending_all_sessions_do_not_deadlock(user, monkeypatch):
    tokens = log_in(user.email)
    release()
    waiting = "select count(*) from pg_locks where not granted"
    lock, pool = RefreshToken.lock, ThreadPoolExecutor(1)

    def end_all():
        try:
            with transaction():
                return Session.revoke(Session.user_id == user.id, "password_change")
        finally:
            release()

    def end_all_meanwhile(jti):  # the session is locked already
        ending.append(pool.submit(end_all))
        while not ending[0].done() and not database.execute_sql(waiting).fetchone()[0]:
            pass
        return lock(jti)

    ending: list = []
    monkeypatch.setattr(RefreshToken, "lock", end_all_meanwhile)
    renewed = token_refresh.refresh(tokens.refresh_token)
    assert ending[0].result(5)[0] == [renewed.session_id]
    assert RefreshToken.select().where(RefreshToken.revoked_at.is_null()).count() == 0
