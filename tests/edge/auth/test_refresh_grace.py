"""Refresh tokens that are sent twice: by two tabs at once, by a client that is late, and by a thief."""

from datetime import timedelta

import pytest

from models.auth import refresh_successors
from models.auth.sessions import RefreshToken
from models.auth.users import Membership, User
from models.platform.database import release
from tests.support.accounts import CHEAP_HASHER, NEW, bearer, count_events, is_open, lock, set_password
from tests.support.crowd import crowd

REUSED = "auth.refresh_token_reused"


@pytest.fixture
def refresh(post, configure):
    configure(auth_refresh_rate_limit_per_minute=0)

    def send(token):
        try:
            return post("refresh", refresh_token=token)
        finally:
            release()

    return send


def use_earlier(seconds):
    """Let the tokens that were used up have been used this much earlier."""
    RefreshToken.update(revoked_at=RefreshToken.revoked_at - timedelta(seconds=seconds)).where(
        RefreshToken.revoked_at.is_null(False)
    ).execute()


def is_ended(session):
    return not is_open(session.json["session_id"])


def test_the_database_alone_does_not_have_the_successor(sign_in, refresh):
    used = sign_in().json["refresh_token"]
    successor = refresh(used).json
    row = RefreshToken.get(RefreshToken.revoked_reason == "rotated")
    for secret in (used, successor["refresh_token"], successor["access_token"]):
        assert secret.encode() not in bytes(row.successor)
        assert secret[-40:].encode() not in bytes(row.successor)
    assert refresh_successors.of(f"{used[:-1]}0", row) is None, "only the very token decrypts it"
    assert refresh_successors.of(used, row).refresh_token == successor["refresh_token"]


@pytest.mark.parametrize(("seconds", "status"), [(9, 200), (11, 401)])
def test_reuse_after_the_window_ends_the_session(sign_in, refresh, seconds, status):
    session = sign_in()
    successor = refresh(session.json["refresh_token"])
    use_earlier(seconds)
    assert refresh(session.json["refresh_token"]).status_code == status
    assert is_ended(session) == (status == 401)
    assert count_events(REUSED) == (status == 401)
    assert refresh(successor.json["refresh_token"]).status_code == status


def test_a_thief_within_the_window_is_found_out_when_one_of_the_two_refreshes_again(sign_in, refresh):
    session = sign_in()
    mine, stolen = (refresh(session.json["refresh_token"]) for _ in range(2))
    assert mine.text == stolen.text
    assert refresh(stolen.json["refresh_token"]).status_code == 200
    use_earlier(11)
    assert refresh(mine.json["refresh_token"]).status_code == 401
    assert is_ended(session) and count_events(REUSED) == 1


def test_a_tab_that_is_late_gets_the_tokens_that_are_valid_now(sign_in, refresh):
    session = sign_in()
    second = refresh(session.json["refresh_token"])
    third = refresh(second.json["refresh_token"])
    fourth = refresh(third.json["refresh_token"])
    assert refresh(session.json["refresh_token"]).text == fourth.text
    assert refresh(fourth.json["refresh_token"]).status_code == 200


@pytest.mark.parametrize("event", ["logout", "password change", "disabled", "removed", "lock"])
def test_what_happens_between_two_refreshes_counts_for_the_second(sign_in, refresh, post, user, event):
    session = sign_in()
    used = session.json["refresh_token"]
    successor = refresh(used)
    if event == "logout":
        post("logout", bearer(successor.json), refresh_token=successor.json["refresh_token"])
    elif event == "password change":
        set_password(user, CHEAP_HASHER.hash(NEW))
    elif event == "disabled":
        User.update(status="disabled").execute()
    elif event == "removed":
        Membership.delete().execute()
    else:
        lock(user)
    expected = {"disabled": 403, "lock": 200}.get(event, 401)
    assert refresh(used).status_code == expected
    assert count_events(REUSED) == 0, "nobody stole anything"


def test_a_crowd_of_refreshes_and_a_password_change_leave_no_session_open(sign_in, refresh, user):
    session = sign_in()

    def act(number):
        if number == 10:
            return set_password(user, CHEAP_HASHER.hash(NEW))
        return refresh(session.json["refresh_token"])

    answers = [answer for answer in crowd(20, act) if answer is not None]
    assert {answer.status_code for answer in answers} <= {200, 401}
    assert is_ended(session)
    assert RefreshToken.select().where(RefreshToken.revoked_at.is_null()).count() == 0


def test_successors_are_forgotten_after_the_window(sign_in, refresh):
    second = refresh(sign_in().json["refresh_token"])
    kept = RefreshToken.select().where(RefreshToken.successor.is_null(False))
    use_earlier(11)
    assert refresh(second.json["refresh_token"]).status_code == 200
    assert kept.count() == 1, "the next refresh of the session forgets it"
    refresh_successors.purge()
    assert kept.count() == 1
    use_earlier(11)
    refresh_successors.purge()
    assert kept.count() == 0, "and so does housekeeping"


def test_without_a_grace_reuse_ends_the_session_at_once(sign_in, refresh, configure):
    configure(auth_refresh_grace_seconds=0)
    session = sign_in()
    assert refresh(session.json["refresh_token"]).status_code == 200
    assert RefreshToken.select().where(RefreshToken.successor.is_null(False)).count() == 0
    assert refresh(session.json["refresh_token"]).status_code == 401
    assert is_ended(session)
