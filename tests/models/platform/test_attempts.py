"""Budgets of attempts."""

import pytest
import redis

from models.platform import attempts
from models.platform.attempts import Attempt, Budget, BudgetFull, CountersAway, attempt
from models.platform.redis import redis_client

BUDGET = Budget("tests", "key", limit=3, window=60)


@pytest.fixture(autouse=True)
def empty(clean):
    """No places are taken."""


def take(budget=BUDGET):
    taken = Attempt([budget])
    taken.take()
    return taken


def spend(number, budget=BUDGET):
    return [take(budget).spend() for _ in range(number)]


def refusal(*budgets):
    """The error of another attempt."""
    with pytest.raises(BudgetFull) as caught:
        Attempt(budgets).take()
    return caught.value


def counts(budget=BUDGET):
    found = redis_client().hgetall(budget.redis_key)
    return int(found.get(b"taken", 0)), int(found.get(b"spent", 0))


def ttl(budget=BUDGET):
    return redis_client().ttl(budget.redis_key)


def test_attempts_that_are_under_way_leave_no_place_until_one_ends():
    first, *_ = [take() for _ in range(3)]
    full = refusal(BUDGET)
    assert (full.budget, full.retry_after, full.closed) == (BUDGET, 1, False)
    first.give_back()
    assert take()


def test_spent_places_close_the_budget_until_the_window_ends():
    assert spend(3) == [[], [], [BUDGET]]
    full = refusal(BUDGET)
    assert full.closed and 50 < full.retry_after == ttl() <= 60


def test_a_closed_budget_may_stay_closed_for_longer_than_its_window():
    blocking = Budget("tests", "key", limit=2, window=60, block=600)
    take(blocking).spend()
    assert ttl() <= 60
    take(blocking).spend()
    assert 590 < refusal(blocking).retry_after <= 600


def test_all_budgets_are_charged_or_none():
    other = Budget("tests", "other", limit=1, window=60)
    take(other)
    assert refusal(BUDGET, other).budget == other
    assert counts() == (0, 0)


def test_a_block_that_raises_gives_its_places_back():
    with pytest.raises(ZeroDivisionError), attempt([BUDGET]):
        assert counts() == (1, 0)
        raise ZeroDivisionError
    assert counts() == (0, 0)


def test_a_block_that_spends_and_raises_keeps_its_places():
    with pytest.raises(ZeroDivisionError), attempt([BUDGET]) as taken:
        taken.spend()
        raise ZeroDivisionError
    assert counts() == (1, 1)


def test_a_success_forgives_what_was_spent_but_frees_no_place_that_another_attempt_holds():
    forgiving = Budget("tests", "key", limit=3, window=60, forgiving=True)
    take(forgiving).spend()
    take(forgiving)
    take(forgiving).succeed()
    assert counts() == (1, 0)


def test_a_success_elsewhere_frees_only_its_own_place():
    take().spend()
    take().succeed()
    assert counts() == (1, 1)


def test_a_place_is_not_given_back_twice_or_after_the_window():
    first, second = take(), take()
    first.give_back()
    first.give_back()
    assert first.spend() == [] and counts() == (1, 0)
    redis_client().delete(BUDGET.redis_key)
    second.give_back()
    assert counts() == (0, 0)
    spend(3)
    assert refusal(BUDGET).closed


def test_an_attempt_that_outlives_its_window_is_spent_in_the_next():
    late = take()
    redis_client().delete(BUDGET.redis_key)
    late.spend()
    assert counts() == (1, 1) and 0 < ttl() <= 60
    late, _ = take(), redis_client().delete(BUDGET.redis_key)
    take()
    late.spend()
    take().spend()
    assert counts()[0] >= counts()[1] == 2


def test_a_limit_of_zero_counts_nothing():
    off = Budget("tests", "key", limit=0, window=60)
    with attempt([off]) as taken:
        assert taken.spend() == []
    assert counts(off) == (0, 0)


def test_reopening_a_budget_frees_its_places():
    spend(3)
    attempts.reopen(BUDGET)
    assert take()


def test_while_redis_is_away_nothing_is_let_through_and_nothing_else_fails(monkeypatch):
    taken = take()

    def away():
        raise redis.ConnectionError("away")

    monkeypatch.setattr(attempts, "fast_redis_client", away)
    with pytest.raises(CountersAway):
        take()
    assert taken.spend() == []
    taken.succeed()
    attempts.reopen(BUDGET)
