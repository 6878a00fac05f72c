"""Lockout: failed logins lock the account, also when they come in parallel."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from models.auth.password_login import InvalidCredentials
from models.auth.users import User
from models.platform.clock import now
from models.platform.database import release
from models.platform.errors import Locked
from models.platform.settings import settings
from tests.support.accounts import (
    PASSWORD,
    WRONG,
    InterruptedHasher,
    add_user,
    authenticate,
    comparable,
    count_events,
    is_locked,
    reloaded,
    status_and_message,
)


def test_the_fifth_failure_locks_and_only_the_right_password_reveals_it(sign_in, user, post, notices):
    plain = comparable(post("token", email="nobody@example.com", password=WRONG))
    assert [comparable(sign_in(WRONG)) for _ in range(4)] == [plain] * 4
    assert not is_locked(user) and notices() == []
    assert [comparable(sign_in(WRONG)) for _ in range(3)] == [plain] * 3
    assert status_and_message(sign_in()) == (423, "Account is locked.")
    assert count_events("auth.account_locked") == 1
    assert notices() == [("account_locked", user.id)]


def test_after_a_lock_the_right_password_works_and_counting_restarts(sign_in, user):
    for _ in range(5):
        sign_in(WRONG)
    remaining = reloaded(user).locked_until - now()
    assert timedelta(minutes=59) < remaining <= timedelta(minutes=60)
    User.update(locked_until=now()).execute()
    for _ in range(4):
        assert sign_in(WRONG).status_code == 401
    assert sign_in().status_code == 200
    assert (reloaded(user).failures, reloaded(user).locked_until) == (0, None)


def test_failed_logins_do_not_extend_a_lock(sign_in, user):
    for _ in range(5):
        sign_in(WRONG)
    until = reloaded(user).locked_until
    for _ in range(6):
        assert sign_in(WRONG).status_code == 401
    assert reloaded(user).locked_until == until


def test_a_successful_login_resets_the_failure_count(sign_in, user):
    for _ in range(2):
        for _ in range(4):
            sign_in(WRONG)
        assert sign_in().status_code == 200
    assert reloaded(user).failures == 0


@pytest.mark.parametrize(("minutes", "locks"), [(59, True), (61, False)])
def test_failures_count_until_the_window_after_the_last_one_ends(sign_in, user, minutes, locks):
    for _ in range(4):
        sign_in(WRONG)
    User.update(failed_at=now() - timedelta(minutes=minutes)).execute()
    sign_in(WRONG)
    assert is_locked(user) == locks
    assert reloaded(user).failures == (0 if locks else 1)


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
    """log_in_in_parallel(passwords) -> their outcomes, where all passwords are verified before any failure is counted."""

    def run(passwords):
        release()
        barrier = threading.Barrier(len(passwords))
        hasher = InterruptedHasher(after_verify=lambda: barrier.wait(10))

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
    assert {type(error) for error in errors} == {InvalidCredentials}
    assert [error.locked_user_id for error in errors if error.locked_user_id] == [user.id]
    assert (count_events("auth.account_locked"), count_events("auth.sign_in_failed")) == (1, 11)
    assert is_locked(user) and reloaded(user).failures == 0


@pytest.mark.parametrize("place", [0, 7, 19])
def test_a_successful_login_among_parallel_failures_does_not_prevent_the_lock(log_in_in_parallel, user, place):
    passwords = [WRONG] * 19
    passwords.insert(place, PASSWORD)
    outcome = log_in_in_parallel(passwords)[place]
    assert isinstance(outcome, User | Locked)
    # Wherever the right password came in, at least five failures in a row were counted before or after it.
    assert is_locked(user) and reloaded(user).failures < settings.auth_lockout_threshold
    assert count_events("auth.account_locked") == 1
