"""Whether an address is known is not told by the time of an answer either."""

import statistics
import time

import pytest
from argon2 import PasswordHasher

from models.auth import passwords
from tests.support.accounts import add_user

SAMPLES = 25


@pytest.fixture
def known(tenant, monkeypatch, configure):
    """The address of a user, where nothing is limited and hashing takes longer than all the rest."""
    hasher = PasswordHasher(time_cost=2, memory_cost=16384, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", lambda: hasher)
    passwords.dummy_hash.cache_clear()
    for name in ("auth_lockout_threshold", "auth_ip_lockout_threshold"):
        configure(**{name: 10_000})
    for name in ("password_reset_email_rate_limit_per_hour", "password_reset_ip_rate_limit_per_hour"):
        configure(**{name: 10_000})
    yield add_user("jo@example.com", "correct horse battery", tenant=tenant).email
    passwords.dummy_hash.cache_clear()


@pytest.fixture
def ratio(http, known):
    """ratio(path, status, **body) -> the time for a known address by the time for an unknown one, medians."""

    def measure(path, status, **body):
        took = {known: [], "al@example.com": []}
        for turn in range(SAMPLES + 2):
            for address, times in took.items():
                began = time.perf_counter()
                answer = http.simulate_post(f"/api/v1/auth/{path}", json={"email": address, **body})
                if turn >= 2:  # the first ones warm up
                    times.append(time.perf_counter() - began)
                assert answer.status_code == status
        return statistics.median(took[known]) / statistics.median(took["al@example.com"])

    return measure


def test_a_wrong_password_takes_its_time_whether_the_address_is_known_or_not(ratio):
    assert 0.7 < ratio("token", 401, password="a wrong password") < 1.4


def test_a_forgotten_password_takes_no_longer_for_a_known_address(ratio, mailbox):
    assert 0.7 < ratio("password/forgot", 202) < 1.4
    assert mailbox.mails == [], "mails are not sent by the request"
