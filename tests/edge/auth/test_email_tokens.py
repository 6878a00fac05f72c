"""Resetting a password and verifying an address with mailed tokens."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from models.auth import email_tokens
from models.auth.users import User
from models.platform.clock import now
from models.platform.database import release
from tests.support.accounts import (
    INVALID,
    MALFORMED,
    NEW,
    PASSWORD,
    REUSED,
    WEAK,
    bearer,
    comparable,
    count_events,
    failures,
    is_locked,
    is_rate_limited,
    lock,
    reloaded,
    status_and_message,
)

# ---------------------------------------------------------------- a reset by mail


def test_known_and_unknown_addresses_get_the_same_answer_and_cause_the_same_work(post, user, jobs_named):
    answers = [comparable(post("password/forgot", email=" Nobody@example.com "))]
    answers += [comparable(post("password/forgot", email=user.email.upper()))]
    User.update(status="disabled").execute()
    answers += [comparable(post("password/forgot", email=user.email))]
    assert answers == [answers[0]] * 3 and answers[0][0] == 202
    assert answers[0][1]["message"] == "If the account exists, password reset instructions have been sent."
    assert [job.args for job in jobs_named("mail.reset")] == [
        {"email": "nobody@example.com"},
        {"email": "jo@example.com"},
        {"email": "jo@example.com"},
    ]
    assert email_tokens.EmailToken.select().count() == 0, "the request itself creates no token"


def test_reset_mails_are_limited_per_address_in_any_spelling_and_no_answer_tells(post, user, jobs_named):
    spellings = ("jo@example.com", "JO@example.com", "jo@EXAMPLE.com", " jo@example.com", "Jo@example.com")
    answers = [comparable(post("password/forgot", email=spelled)) for spelled in spellings]
    assert answers == [answers[0]] * 5 and answers[0][0] == 202
    assert len(jobs_named("mail.reset")) == 3, "one network gets no more than half of what an address may have"
    assert post("password/forgot", email="al@example.com").status_code == 202
    assert len(jobs_named("mail.reset")) == 4


def test_reset_mails_are_limited_per_network(post, jobs_named, configure):
    configure(password_reset_ip_rate_limit_per_hour=2)
    for address in ("a@example.com", "b@example.com"):
        assert post("password/forgot", email=address).status_code == 202
    assert is_rate_limited(post("password/forgot", email="c@example.com"), "password_reset_ip")
    assert len(jobs_named("mail.reset")) == 2


@pytest.mark.parametrize(
    "address", ["jo", "jo@example.com\r\nBcc: eve@example.com", "jo@example.com, eve@example.com", "jo@exa\nmple.com"]
)
def test_anything_but_a_single_address_is_refused(post, jobs_named, address):
    assert post("password/forgot", email=address).status_code == 422
    assert jobs_named("mail.reset") == []


def test_a_mailed_token_sets_a_password_ends_all_sessions_and_unlocks(
    sign_in, confirm, post, alive, user, notices, tenant
):
    tokens = sign_in().json
    lock(user)
    answer = confirm(email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30))
    assert status_and_message(answer) == (200, "Password has been reset successfully.") and answer.json["data"] is None
    assert not alive(bearer(tokens)) and not is_locked(user) and failures(user) == 0
    assert post("refresh", refresh_token=tokens["refresh_token"]).status_code == 401
    assert (sign_in().status_code, sign_in(NEW).status_code) == (401, 200)
    assert notices() == [("password_changed", user.id)]
    assert count_events("auth.password_reset_token") == 1


USES = {
    "confirm": (
        email_tokens.RESET_PASSWORD,
        lambda post, token: post("password/confirm", token=token, new_password=NEW),
    ),
    "verify": (email_tokens.VERIFY_EMAIL, lambda post, token: post("email/verify", token=token)),
}
every_use = pytest.mark.parametrize("use", USES)


@every_use
@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "x",
        lambda token: ".",
        lambda token: token.partition(".")[0],
        lambda token: f"{token}0",
        lambda token: token[:-1],
        lambda token: token[1:],
        lambda token: f"zz{token[2:]}",
        lambda token: f" {token}",
    ],
)
def test_a_malformed_token_is_refused_and_the_right_one_stays_valid(post, user, use, spoil):
    purpose, redeem = USES[use]
    token = email_tokens.create(user.id, purpose, 30)
    assert status_and_message(redeem(post, spoil(token))) == (400, MALFORMED[use])
    assert redeem(post, token).status_code == 200


@every_use
@pytest.mark.parametrize("flaw", ["unknown", "other secret", "expired", "other purpose", "user gone", "used"])
def test_an_invalid_token_is_refused_for_any_flaw(post, user, use, flaw):
    purpose, redeem = USES[use]
    others = {
        email_tokens.VERIFY_EMAIL: email_tokens.RESET_PASSWORD,
        email_tokens.RESET_PASSWORD: email_tokens.VERIFY_EMAIL,
    }
    token = email_tokens.create(user.id, others[purpose] if flaw == "other purpose" else purpose, 30)
    if flaw == "unknown":
        token = f"{uuid4().hex}.{token.partition('.')[2]}"
    elif flaw == "other secret":
        token = f"{token[:-1]}{'0' if token[-1] != '0' else '1'}"
    elif flaw == "expired":
        email_tokens.EmailToken.update(expires_at=now()).execute()
    elif flaw == "user gone":
        user.delete_instance()
    elif flaw == "used":
        assert redeem(post, token).status_code == 200
    before = User.select(User.password_hash, User.email_verified_at).tuples().execute()[:]
    assert status_and_message(redeem(post, token)) == (400, INVALID[use])
    assert User.select(User.password_hash, User.email_verified_at).tuples().execute()[:] == before


def test_trying_a_token_for_another_purpose_does_not_use_it_up(post, user):
    token = email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30)
    assert USES["verify"][1](post, token).status_code == 400
    assert USES["confirm"][1](post, token).status_code == 200


@pytest.mark.parametrize(
    ("new", "status", "message"),
    [
        ("short", 422, "Request validation failed."),
        ("Password123456789", 422, "Request validation failed."),
        (NEW * 500, 422, "Request validation failed."),
        ("jo.zweigelt.kuss@example.com", 422, "Request validation failed."),
        (PASSWORD, 400, REUSED),
    ],
)
def test_a_rejected_password_does_not_use_up_the_token(confirm, user, new, status, message):
    User.update(email="jo.zweigelt.kuss@example.com").execute()
    token = email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30)
    assert status_and_message(confirm(token, new)) == (status, message)
    assert confirm(token).status_code == 200


def test_a_rejected_password_is_reported_with_its_field_and_reason(confirm, user):
    answer = confirm(email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30), "Password123456789")
    assert answer.json["details"] == [{"loc": ["body", "new_password"], "msg": WEAK, "type": "password_refused"}]


def test_several_tokens_are_valid_until_one_is_used(confirm, user):
    tokens = [email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30) for _ in range(3)]
    verification = email_tokens.create(user.id, email_tokens.VERIFY_EMAIL, 30)
    assert confirm(tokens[0]).status_code == 200
    assert [confirm(token, f"{NEW} 2").status_code for token in tokens] == [400] * 3
    assert email_tokens.user_id_of(verification, email_tokens.VERIFY_EMAIL) == user.id


def test_a_user_has_a_limited_number_of_valid_tokens(confirm, user):
    tokens = [email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30) for _ in range(email_tokens.KEPT + 1)]
    assert email_tokens.EmailToken.select().count() == email_tokens.KEPT
    assert [confirm(token).status_code for token in (tokens[0], tokens[1])] == [400, 200]


def test_of_two_tokens_that_are_used_at_once_only_one_counts(confirm, user):
    tokens = [email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30) for _ in range(6)]
    release()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda token: confirm(token).status_code, tokens))
    assert answers.count(200) == 1 and set(answers) <= {200, 400, 409}


@every_use
def test_only_one_of_many_parallel_uses_of_a_token_succeeds(post, user, use):
    purpose, redeem = USES[use]
    token = email_tokens.create(user.id, purpose, 30)
    release()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: redeem(post, token).status_code, range(6)))
    assert sorted(answers) == [200] + [400] * 5


# ---------------------------------------------------------------- verifying an address


def test_verification_mails_are_limited_per_user(signed, post, jobs_named):
    headers, user = signed(verified=False)
    for _ in range(3):
        answer = post("email/send", headers)
        assert status_and_message(answer) == (202, "Verification email sent.") and answer.json["data"] == {
            "email_verified": False
        }
    assert is_rate_limited(post("email/send", headers), "email_verify_user")
    assert [job.args for job in jobs_named("mail.verify")] == [{"user_id": str(user.id)}] * 3


def test_verification_mails_are_limited_per_network(signed, post, configure):
    configure(email_verification_ip_rate_limit_per_hour=2)
    answers = [post("email/send", signed(verified=False)[0]) for _ in range(3)]
    assert [answer.status_code for answer in answers[:2]] == [202, 202]
    assert is_rate_limited(answers[2], "email_verify_ip")


@pytest.mark.parametrize("verified", [True, False], ids=["by the token", "since the token"])
def test_a_verified_address_gets_no_mail_and_uses_no_quota(signed, post, jobs_named, verified):
    headers, _ = signed(verified=verified)
    User.update(email_verified_at=now()).execute()
    for _ in range(4):
        answer = post("email/send", headers)
        assert status_and_message(answer) == (202, "Email already verified.") and answer.json["data"] == {
            "email_verified": True
        }
    assert jobs_named("mail.verify") == []


@pytest.mark.parametrize(("before", "after"), [("pending", "active"), ("active", "active"), ("disabled", "disabled")])
def test_verifying_an_address_activates_a_pending_account(signed, post, before, after):
    _, user = signed(verified=False)
    User.update(status=before).where(User.id == user.id).execute()
    assert post("email/verify", token=email_tokens.create(user.id, email_tokens.VERIFY_EMAIL, 60)).status_code == 200
    assert reloaded(user).email_verified_at is not None and reloaded(user).status == after
    assert count_events("auth.email_verified") == 1
