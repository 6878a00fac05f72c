"""A verification click does not make the password of somebody else good."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from models.auth import email_tokens
from models.platform.database import release
from tests.support.accounts import NEW, PASSWORD, bearer, count_events, log_in, reloaded, status_and_message
from tests.support.changes import (
    end_sessions,
)


@pytest.fixture
def verification(signed):
    """(headers of the session that registered, the user, the mailed token)."""
    headers, user = signed("owner", verified=False)
    return headers, user, email_tokens.create(user.id, email_tokens.VERIFY_EMAIL, 60)


def test_who_verifies_with_their_session_goes_on_with_it(verification, post, status):
    headers, user, token = verification
    assert status(headers, "/api/v1/conversations") == 403
    answer = post("email/verify", headers, token=token)
    assert status_and_message(answer) == (200, "Email verified successfully.") and answer.json["data"] is None
    assert status(headers, "/api/v1/conversations") == 200
    assert post("token", email=user.email, password=PASSWORD).json["email_verified"] is True
    assert count_events("auth.email_verified") == 1


def test_a_click_without_the_session_does_not_make_the_password_good(verification, post, status, jobs_named):
    """Somebody registers another person's address; that person clicks on the link in the mail."""
    attackers, user, token = verification
    refresh_token = log_in(user.email).refresh_token
    answer = post("email/verify", token=token)
    assert answer.status_code == 200 and answer.json["data"] == {"new_password_required": True}
    assert reloaded(user).email_verified_at is not None
    assert status(attackers, "/api/v1/auth/me") == 401
    assert post("refresh", refresh_token=refresh_token).status_code == 401
    assert post("token", email=user.email, password=PASSWORD).status_code == 401
    [job] = jobs_named("mail.reset")
    assert job.args == {"email": user.email}
    assert count_events("auth.password_voided") == 1
    reset = email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30)
    reused = post("password/confirm", token=reset, new_password=PASSWORD)
    assert reused.json["message"] == "Password was recently used.", "the attacker knows it"
    assert post("password/confirm", token=reset, new_password=NEW).status_code == 200
    assert post("token", email=user.email, password=NEW).json["email_verified"] is True


def test_the_session_of_somebody_else_does_not_count(verification, signed, post, status):
    _, user, token = verification
    stranger, _ = signed("owner")
    assert post("email/verify", stranger, token=token).json["data"] == {"new_password_required": True}
    assert post("token", email=user.email, password=PASSWORD).status_code == 401
    assert status(stranger, "/api/v1/auth/me") == 200


def test_a_session_that_has_ended_is_refused_and_the_token_stays_usable(verification, post):
    headers, user, token = verification
    end_sessions(user)
    assert post("email/verify", headers, token=token).status_code == 401
    assert reloaded(user).email_verified_at is None
    assert (
        post("email/verify", bearer({"access_token": log_in(user.email).access_token}), token=token).status_code == 200
    )


def test_of_many_parallel_clicks_one_counts(verification, http):
    headers, user, token = verification
    release()

    def click(number):
        own = headers if number % 2 else None
        return http.simulate_post("/api/v1/auth/email/verify", json={"token": token}, headers=own)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(click, range(8)))
    [winner] = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 400, 401}
    password_is_void = reloaded(user).password_hash != user.password_hash
    assert password_is_void == bool(winner.json["data"])


def test_a_second_proof_leaves_the_password_alone(verification, post):
    headers, user, token = verification
    assert post("email/verify", headers, token=token).status_code == 200
    again = email_tokens.create(user.id, email_tokens.VERIFY_EMAIL, 60)
    assert post("email/verify", token=again).json["data"] is None
    assert post("token", email=user.email, password=PASSWORD).status_code == 200
