"""Lockout: wrong passwords lock an account for devices that are not known, also when they come in parallel."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.auth.password_login import InvalidCredentials
from models.auth.users import User
from models.platform.database import release
from models.platform.errors import Locked
from models.platform.limits import QuotaExceeded
from tests.support.accounts import (
    PASSWORD,
    WRONG,
    InterruptedHasher,
    add_user,
    authenticate,
    comparable,
    count_events,
    failures,
    is_locked,
    let_pass,
    status_and_message,
)

LOCKED = (423, "Account is locked.")


def test_the_fifth_failure_locks_and_then_right_and_wrong_passwords_get_the_same_answer(
    sign_in, user, post, jobs_named
):
    plain = comparable(post("token", email="nobody@example.com", password=WRONG))
    assert [comparable(sign_in(WRONG)) for _ in range(4)] == [plain] * 4
    assert not is_locked(user) and jobs_named("mail.locked") == []
    assert comparable(sign_in(WRONG)) == plain
    assert status_and_message(sign_in(WRONG)) == status_and_message(sign_in()) == LOCKED
    assert 3590 < int(sign_in().headers["Retry-After"]) <= 3600
    assert count_events("auth.account_locked") == 1
    assert [job.args for job in jobs_named("mail.locked")] == [{"email": user.email}]


def test_an_owner_gets_no_more_than_three_mails_a_day_about_locks(sign_in, user, jobs_named):
    for _ in range(5):
        for _ in range(5):
            assert sign_in(WRONG).status_code == 401
        let_pass(user, 3600)
    assert (count_events("auth.account_locked"), len(jobs_named("mail.locked"))) == (5, 3)


def test_after_a_lock_the_right_password_works_and_counting_restarts(sign_in, user):
    for _ in range(5):
        sign_in(WRONG)
    let_pass(user, 3600)
    for _ in range(4):
        assert sign_in(WRONG).status_code == 401
    assert sign_in().status_code == 200
    assert failures(user) == 0


def test_failed_logins_do_not_extend_a_lock(sign_in, user):
    for _ in range(5):
        sign_in(WRONG)
    let_pass(user, 3000)
    for _ in range(6):
        assert status_and_message(sign_in(WRONG)) == LOCKED
    assert int(sign_in().headers["Retry-After"]) <= 600


def test_a_successful_login_resets_the_failure_count(sign_in, user):
    for _ in range(2):
        for _ in range(4):
            sign_in(WRONG)
        assert sign_in().status_code == 200
    assert failures(user) == 0


@pytest.mark.parametrize(("minutes", "locks"), [(59, True), (60, False)])
def test_failures_count_for_an_hour_after_the_first(sign_in, user, minutes, locks):
    for _ in range(4):
        sign_in(WRONG)
    let_pass(user, 60 * minutes)
    sign_in(WRONG)
    assert is_locked(user) == locks
    assert failures(user) == (5 if locks else 1)


def test_a_threshold_of_zero_never_locks(sign_in, user, configure):
    configure(auth_lockout_threshold=0)
    for _ in range(7):
        sign_in(WRONG)
    assert sign_in().status_code == 200


def test_failed_sign_ins_lock_only_that_account(sign_in, user, tenant):
    other = add_user("al@example.com", PASSWORD, tenant=tenant)
    for _ in range(5):
        sign_in(WRONG)
    assert is_locked(user) and not is_locked(other)
    assert sign_in(email=other.email).status_code == 200


@pytest.fixture
def log_in_in_parallel(user):
    """log_in_in_parallel(passwords) -> their outcomes. The hashes of those that are let through overlap."""

    def run(passwords):
        release()
        through = threading.Barrier(5)
        hasher = InterruptedHasher(after_verify=lambda: through.wait(10))

        def attempt(password):
            try:
                return authenticate(user.email, password, hasher=hasher)
            except Exception as error:
                return error
            finally:
                release()

        with ThreadPoolExecutor(len(passwords)) as pool:
            return list(pool.map(attempt, passwords))

    return run


def test_exactly_one_of_many_parallel_failures_locks_the_account(log_in_in_parallel, user):
    errors = log_in_in_parallel([WRONG] * 12)
    wrong = [error for error in errors if isinstance(error, InvalidCredentials)]
    assert len(wrong) == 5 and {type(error) for error in errors} <= {InvalidCredentials, QuotaExceeded, Locked}
    assert [error.locked_email for error in wrong if error.locked_email] == [user.email]
    assert (count_events("auth.account_locked"), count_events("auth.sign_in_failed")) == (1, 4)
    assert is_locked(user)


@pytest.mark.parametrize("place", range(5))
def test_a_successful_login_among_parallel_failures_frees_no_place_that_another_holds(log_in_in_parallel, user, place):
    passwords = [WRONG] * 4
    passwords.insert(place, PASSWORD)
    outcomes = log_in_in_parallel(passwords)
    assert isinstance(outcomes[place], User)
    assert sum(isinstance(outcome, InvalidCredentials) for outcome in outcomes) == 4
    assert 0 <= failures(user) <= 4 and not is_locked(user)
