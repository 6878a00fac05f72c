"""Logging in with a password: refusals, throttled networks, and concurrent password changes."""

from uuid import uuid4

import pytest

from models.auth import password_login
from models.auth.sessions import Session
from models.auth.users import Membership, User
from models.platform.client_info import ClientInfo
from models.platform.limits import QuotaExceeded
from tests.support.accounts import (
    CHEAP_HASHER,
    NEW,
    PASSWORD,
    WRONG,
    InterruptedHasher,
    authenticate,
    comparable,
    failures,
    join_another,
    reloaded,
    set_password,
    status_and_message,
)

REFUSED = (401, "Invalid email or password.")


@pytest.mark.parametrize(
    ("account", "more", "status", "message"),
    [
        ({}, {"email": "nobody@example.com"}, 401, "Invalid email or password."),
        ({}, {"tenant_id": "nonsense"}, 401, "Invalid tenant identifier supplied."),
        ({}, {"tenant_id": str(uuid4())}, 401, "User is not a member of the requested tenant."),
        ({"status": "disabled"}, {}, 403, "User is disabled."),
        ({"status": "pending"}, {}, 403, "User is pending."),
    ],
)
def test_the_reason_for_a_refusal_is_given_only_for_the_right_password(
    sign_in, user, post, account, more, status, message
):
    plain = comparable(post("token", email="somebody@example.com", password=WRONG))
    assert plain[0] == 401 and plain[1]["message"] == "Invalid email or password."
    if account:
        User.update(**account).execute()
    assert status_and_message(sign_in(**more)) == (status, message)
    assert comparable(sign_in(WRONG, **more)) == plain
    assert Session.select().count() == 0


def test_memberships_are_revealed_only_for_the_right_password(sign_in, user, tenant):
    other = join_another(user)
    plain = comparable(sign_in(WRONG))
    answer = sign_in()
    assert status_and_message(answer) == (400, "Tenant context required for multi-tenant users.")
    assert answer.json["details"]["tenants"] == sorted([str(tenant.id), str(other.id)])
    Membership.delete().execute()
    assert status_and_message(sign_in()) == (401, "User is not assigned to any tenant.")
    assert comparable(sign_in(WRONG)) == plain and plain[0] == 401


def test_a_throttled_network_is_refused_for_every_account_with_retry_after(sign_in, user, post, configure):
    configure(auth_ip_lockout_threshold=3)
    for address in ("a@example.com", "b@example.com", user.email):
        assert post("token", email=address, password=WRONG).status_code == 401
    for answer in (sign_in(), post("token", email="c@example.com", password=WRONG)):
        assert status_and_message(answer) == (429, "Too many login attempts from this network segment.")
        assert 0 < int(answer.headers["Retry-After"]) <= 600
    assert failures(user) == 1, "a refused attempt is not counted"


@pytest.mark.parametrize(
    ("used", "same_network", "elsewhere"),
    [
        (["203.0.113.7", "203.0.113.7"], "203.0.113.7", "198.51.100.7"),
        (["203.0.113.7", "203.0.113.8"], "203.0.113.9", "203.0.114.7"),
        (["2001:db8:1:2::1", "2001:db8:1:2:ffff::1"], "2001:db8:1:2:9::", "2001:db8:1:3::1"),
        (["::ffff:203.0.113.7", "203.0.113.8"], "::ffff:203.0.113.9", "::ffff:198.51.100.7"),
    ],
)
def test_failures_count_against_the_network_one_party_controls(user, configure, used, same_network, elsewhere):
    configure(auth_ip_lockout_threshold=2)
    for ip in used:
        with pytest.raises(password_login.InvalidCredentials):
            authenticate("nobody@example.com", WRONG, client=ClientInfo(ip))
    with pytest.raises(QuotaExceeded):
        authenticate(user.email, PASSWORD, client=ClientInfo(same_network))
    assert authenticate(user.email, PASSWORD, client=ClientInfo(elsewhere)).id == user.id


def test_successful_logins_do_not_throttle_a_network(sign_in, configure):
    configure(auth_ip_lockout_threshold=2)
    assert [sign_in().status_code for _ in range(4)] == [200] * 4


def test_a_password_change_after_the_check_prevents_the_session(http_with, user):
    changes = InterruptedHasher(after_verify=lambda: set_password(reloaded(user), CHEAP_HASHER.hash(NEW)))
    body = {"email": user.email, "password": PASSWORD}
    assert status_and_message(http_with(changes).simulate_post("/api/v1/auth/token", json=body)) == REFUSED
    assert Session.select().where(Session.revoked_at.is_null()).count() == 0


def test_a_password_change_before_the_session_opens_prevents_it(sign_in, user, monkeypatch):
    for_session = Membership.for_session

    def change_meanwhile(*args):
        set_password(reloaded(user), CHEAP_HASHER.hash(NEW))
        return for_session(*args)

    monkeypatch.setattr(Membership, "for_session", change_meanwhile)
    assert status_and_message(sign_in()) == REFUSED
    assert Session.select().where(Session.revoked_at.is_null()).count() == 0
