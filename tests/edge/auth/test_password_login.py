"""Signing in and refreshing: who is refused, what they hear, and what wrong passwords lead to."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.auth import login, password_login, passwords
from models.auth.key_file import Key, KeySet, keyset
from models.auth.login import SignIn
from models.auth.sessions import RefreshToken, Session
from models.auth.users import Membership, User
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import database, release, transaction
from models.platform.errors import Locked
from models.platform.limits import QuotaExceeded
from models.platform.settings import settings
from tests.support.accounts import (
    NEW,
    PASSWORD,
    WRONG,
    add_user,
    count_events,
    fresh,
    is_locked,
    join_another,
    same,
    told,
)

pytestmark = pytest.mark.usefixtures("cheap_hashing")

# ---------------------------------------------------------------- signing in


@pytest.mark.parametrize(
    ("account", "more", "status", "message"),
    [
        ({}, {"email": "nobody@example.com"}, 401, "Invalid email or password."),
        ({}, {"tenant_id": "nonsense"}, 401, "Invalid tenant identifier supplied."),
        ({}, {"tenant_id": str(uuid4())}, 401, "User is not a member of the requested tenant."),
        ({"status": "disabled"}, {}, 403, "User is disabled."),
        ({"status": "pending"}, {}, 403, "User is pending."),
        ({"locked_until": "2999-01-01T00:00:00Z"}, {}, 423, "Account is locked."),
    ],
)
def test_who_cannot_sign_in_hears_why_but_only_with_the_right_password(
    sign_in, user, post, account, more, status, message
):
    plain = same(post("token", email="somebody@example.com", password=WRONG))
    assert plain[0] == 401 and plain[1]["message"] == "Invalid email or password."
    if account:
        User.update(**account).execute()
    assert told(sign_in(**more)) == (status, message)
    assert same(sign_in(WRONG, **more)) == plain
    assert Session.select().count() == 0


def test_memberships_are_told_only_with_the_right_password(sign_in, user, tenant):
    other = join_another(user)
    plain = same(sign_in(WRONG))
    answer = sign_in()
    assert told(answer) == (400, "Tenant context required for multi-tenant users.")
    assert answer.json["details"]["tenants"] == sorted([str(tenant.id), str(other.id)])
    Membership.delete().execute()
    assert told(sign_in()) == (401, "User is not assigned to any tenant.")
    assert same(sign_in(WRONG)) == plain and plain[0] == 401


def test_a_busy_network_is_told_when_to_come_back_whoever_it_asks_for(sign_in, user, post, configure):
    configure(auth_ip_lockout_threshold=3)
    for address in ("a@example.com", "b@example.com", user.email):
        assert post("token", email=address, password=WRONG).status_code == 401
    for answer in (sign_in(), post("token", email="c@example.com", password=WRONG)):
        assert told(answer) == (429, "Too many login attempts from this network segment.")
        assert 0 < int(answer.headers["Retry-After"]) <= 600
    assert fresh(user).failures == 1, "what was refused unread is not counted"


@pytest.mark.parametrize(
    ("used", "same_network", "elsewhere"),
    [
        (["203.0.113.7", "203.0.113.7"], "203.0.113.7", "198.51.100.7"),
        (["203.0.113.7", "203.0.113.8"], "203.0.113.9", "203.0.114.7"),
        (["2001:db8:1:2::1", "2001:db8:1:2:ffff::1"], "2001:db8:1:2:9::", "2001:db8:1:3::1"),
        (["::ffff:203.0.113.7", "203.0.113.8"], "::ffff:203.0.113.9", "::ffff:198.51.100.7"),
    ],
)
def test_failures_are_counted_by_the_network_that_one_party_owns(user, configure, used, same_network, elsewhere):
    configure(auth_ip_lockout_threshold=2)
    for ip in used:
        with pytest.raises(password_login.InvalidCredentials):
            password_login.authenticate("nobody@example.com", WRONG, origin=ClientInfo(ip))
    with pytest.raises(QuotaExceeded):
        password_login.authenticate(user.email, PASSWORD, origin=ClientInfo(same_network))
    assert password_login.authenticate(user.email, PASSWORD, origin=ClientInfo(elsewhere)).id == user.id


def test_right_passwords_do_not_make_a_network_busy(sign_in, configure):
    configure(auth_ip_lockout_threshold=2)
    assert [sign_in().status_code for _ in range(4)] == [200] * 4


@pytest.mark.parametrize("seam", [(passwords, "verify"), (login, "_membership")], ids=["verifying", "opening"])
def test_a_password_that_is_changed_during_a_sign_in_opens_no_session(sign_in, user, monkeypatch, seam):
    module, name = seam
    real = getattr(module, name)

    def overtaken(*args):
        answer = real(*args)
        with transaction():
            password_login.set_password(fresh(user), passwords.hash_password(NEW), "password_change", by="test")
        return answer

    monkeypatch.setattr(module, name, overtaken)
    assert told(sign_in()) == (401, "Invalid email or password.")
    assert Session.select().where(Session.revoked_at.is_null()).count() == 0


# ---------------------------------------------------------------- refreshing


def forged(claims, **changes):
    return keyset().sign({name: value for name, value in {**claims, **changes}.items() if value is not None})


def stranger_key(claims):
    return KeySet([Key("ed25519-stranger", Ed25519PrivateKey.generate(), now())]).sign(claims)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda claims: "a.b.c", "Refresh token verification failed."),
        (stranger_key, "Refresh token verification failed."),
        (lambda claims: forged(claims, exp=claims["iat"] - 60), "Refresh token verification failed."),
        (lambda claims: forged(claims, token_use="access"), "Token is not a refresh token."),
        (lambda claims: forged(claims, sub="robot:x"), "Refresh token subject is malformed."),
        (lambda claims: forged(claims, jti=None), "Refresh token missing jti claim."),
        (lambda claims: forged(claims, jti=str(uuid4())), "Refresh token has been revoked or expired."),
        (lambda claims: forged(claims, scope="support:*"), "Refresh token has been revoked or expired."),
    ],
)
def test_a_refresh_token_that_we_did_not_give_out_is_refused(sign_in, post, forge, message):
    token = sign_in().json["refresh_token"]
    assert told(post("refresh", refresh_token=forge(keyset().verify(token)))) == (401, message)
    assert post("refresh", refresh_token=token).status_code == 200


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
    assert told(post("refresh", refresh_token=token)) == (401, "Refresh token has been revoked or expired.")


@pytest.mark.parametrize(
    ("account", "status", "message"),
    [
        ({"status": "disabled"}, 403, "User is disabled."),
        ({"status": "pending"}, 403, "User is pending."),
        ({"locked_until": "2999-01-01T00:00:00Z"}, 423, "Account is locked."),
        (None, 401, "User is not a member of the requested tenant."),
    ],
)
def test_a_refusal_for_the_accounts_sake_does_not_cost_the_session(
    sign_in, post, user, tenant, account, status, message
):
    token = sign_in().json["refresh_token"]
    if account:
        User.update(**account).execute()
    else:
        Membership.delete().execute()
    assert told(post("refresh", refresh_token=token)) == (status, message)
    User.update(status="active", locked_until=None).execute()
    Membership.get_or_create(user=user.id, tenant=tenant.id, defaults={"role": "viewer"})
    assert post("refresh", refresh_token=token).status_code == 200


def test_a_refresh_and_the_end_of_all_sessions_do_not_stop_each_other(user, monkeypatch):
    tokens = SignIn.with_password(user.email, PASSWORD)
    release()
    waiting = "select count(*) from pg_locks where not granted"
    lock, pool = RefreshToken.lock, ThreadPoolExecutor(1)

    def end_all():
        try:
            with transaction():
                return Session.revoke(Session.user == user.id, "password_change")
        finally:
            release()

    def overtaken(jti):  # the session is locked already
        ending.append(pool.submit(end_all))
        while not ending[0].done() and not database.execute_sql(waiting).fetchone()[0]:
            pass
        return lock(jti)

    ending: list = []
    monkeypatch.setattr(RefreshToken, "lock", overtaken)
    renewed = SignIn.with_refresh_token(tokens.refresh_token)
    assert ending[0].result(5)[0] == [renewed.session_id]
    assert RefreshToken.select().where(RefreshToken.revoked_at.is_null()).count() == 0


# ---------------------------------------------------------------- lockout


def test_the_fifth_wrong_password_locks_and_only_the_right_one_hears_of_it(sign_in, user, post, notices):
    plain = same(post("token", email="nobody@example.com", password=WRONG))
    assert [same(sign_in(WRONG)) for _ in range(4)] == [plain] * 4
    assert not is_locked(user) and notices() == []
    assert [same(sign_in(WRONG)) for _ in range(3)] == [plain] * 3
    assert told(sign_in()) == (423, "Account is locked.")
    assert count_events("auth.account_locked") == 1
    assert notices() == [("account_locked", user.id)]


def test_after_the_end_of_a_lock_the_right_password_works_and_counting_begins_anew(sign_in, user):
    for _ in range(5):
        sign_in(WRONG)
    remaining = fresh(user).locked_until - now()
    assert timedelta(minutes=59) < remaining <= timedelta(minutes=60)
    User.update(locked_until=now()).execute()
    for _ in range(4):
        assert sign_in(WRONG).status_code == 401
    assert sign_in().status_code == 200
    assert (fresh(user).failures, fresh(user).locked_until) == (0, None)


def test_wrong_passwords_do_not_prolong_a_lock(sign_in, user):
    for _ in range(5):
        sign_in(WRONG)
    until = fresh(user).locked_until
    for _ in range(6):
        assert sign_in(WRONG).status_code == 401
    assert fresh(user).locked_until == until


def test_a_right_password_makes_the_wrong_ones_before_it_forgotten(sign_in, user):
    for _ in range(2):
        for _ in range(4):
            sign_in(WRONG)
        assert sign_in().status_code == 200
    assert fresh(user).failures == 0


@pytest.mark.parametrize(("minutes", "locks"), [(59, True), (61, False)])
def test_failures_count_as_long_as_the_window_since_the_last_one(sign_in, user, minutes, locks):
    for _ in range(4):
        sign_in(WRONG)
    User.update(failed_at=now() - timedelta(minutes=minutes)).execute()
    sign_in(WRONG)
    assert is_locked(user) == locks
    assert fresh(user).failures == (0 if locks else 1)


def test_a_threshold_of_zero_never_locks(sign_in, user, configure):
    configure(auth_lockout_threshold=0)
    for _ in range(7):
        sign_in(WRONG)
    assert sign_in().status_code == 200


def test_ones_wrong_passwords_do_not_lock_another(sign_in, user, tenant):
    other = add_user("al@example.com", PASSWORD, tenant=tenant)
    for _ in range(5):
        sign_in(WRONG)
    assert is_locked(user) and not is_locked(other)
    assert sign_in(email=other.email).status_code == 200


@pytest.fixture
def all_at_once(user, monkeypatch):
    """all_at_once(passwords) -> their outcomes, where every one is judged before any is counted."""

    def make(given):
        release()
        verify, start = passwords.verify, threading.Barrier(len(given))

        def judged(*args):
            answer = verify(*args)
            start.wait(10)
            return answer

        def attempt(password):
            try:
                return password_login.authenticate(user.email, password)
            except Exception as error:
                return error
            finally:
                release()

        with monkeypatch.context() as patch, ThreadPoolExecutor(len(given)) as pool:
            patch.setattr(passwords, "verify", judged)
            return list(pool.map(attempt, given))

    return make


def test_of_many_wrong_passwords_at_once_exactly_one_locks(all_at_once, user):
    outcomes = all_at_once([WRONG] * 12)
    assert {type(one) for one in outcomes} == {password_login.InvalidCredentials}
    assert [one.locked for one in outcomes if one.locked] == [user.id]
    assert (count_events("auth.account_locked"), count_events("auth.sign_in_failed")) == (1, 11)
    assert is_locked(user) and fresh(user).failures == 0


@pytest.mark.parametrize("place", [0, 7, 19])
def test_a_right_password_among_many_wrong_ones_leaves_no_account_open_to_guessing(all_at_once, user, place):
    given = [WRONG] * 19
    given.insert(place, PASSWORD)
    right = all_at_once(given)[place]
    assert isinstance(right, User | Locked)
    # Wherever the right one came in: before it or after it at least five wrong ones were counted in a row.
    assert is_locked(user) and fresh(user).failures < settings.auth_lockout_threshold
    assert count_events("auth.account_locked") == 1
