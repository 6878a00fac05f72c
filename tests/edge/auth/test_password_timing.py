"""The time of an answer does not reveal whether an address has an account."""

import operator
import statistics
import time

import pytest

from models.auth.password_hashing import PasswordHasher
from models.auth.users import User
from tests.support.accounts import add_user

SAMPLES = 25
SLOW_HASHER = PasswordHasher(time_cost=2, memory_cost=16384, parallelism=1)  # slower than all the rest of a request


@pytest.fixture
def known_email(tenant, configure):
    """The address of a user, in an installation without limits."""
    configure(auth_lockout_threshold=10_000, auth_ip_lockout_threshold=10_000)
    configure(password_reset_email_rate_limit_per_hour=10_000, password_reset_ip_rate_limit_per_hour=10_000)
    return add_user("jo@example.com", tenant=tenant).email


@pytest.fixture
def ratio(http_with, known_email):
    """ratio(path, status, **body) -> the time for a known address divided by that for an unknown one just after it; median."""
    http = http_with(SLOW_HASHER)
    User.update(password_hash=SLOW_HASHER.hash("correct horse battery")).execute()

    def measure(path, status, **body):
        times = {known_email: [], "al@example.com": []}
        for turn in range(SAMPLES + 2):
            for email, seconds in times.items():
                began = time.perf_counter()
                answer = http.simulate_post(f"/api/v1/auth/{path}", json={"email": email, **body})
                if turn >= 2:  # the first requests warm up
                    seconds.append(time.perf_counter() - began)
                assert answer.status_code == status
        # In pairs: the machine may become slower on the way.
        return statistics.median(map(operator.truediv, times[known_email], times["al@example.com"]))

    return measure


def test_a_wrong_password_takes_the_same_time_for_known_and_unknown_addresses(ratio):
    assert 0.7 < ratio("token", 401, password="a wrong password") < 1.4


def test_a_reset_request_takes_the_same_time_for_known_and_unknown_addresses(ratio, mailbox):
    assert 0.7 < ratio("password/forgot", 202) < 1.4
    assert mailbox.mails == [], "the request itself sends no mail"
