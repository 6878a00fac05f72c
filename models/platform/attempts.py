"""Budgets of attempts, charged before the work that an attempt costs. In Redis, where one script charges all or none.

An attempt takes a place in each of its budgets first, so of a crowd no more get through than there are places left. Then
it gives its places back, or spends them: a spent place is free again when the window ends, or where a success forgives. A
process that dies in between leaves its places taken until then.

Key `<prefix>:attempts:<quota>:<key>` -> {taken, spent}; it expires with the window, or when a closed budget opens again.
"""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import redis

from models.platform.errors import Unavailable
from models.platform.redis import fast_redis_client
from models.platform.settings import settings

log = logging.getLogger(__name__)

# KEYS: budgets. ARGV: limit and window of each. Returns 0, or {number of the full budget, seconds until it may have a
# place, whether all of its places are spent}.
_TAKE = """
for number, key in ipairs(KEYS) do
  local limit = tonumber(ARGV[2 * number - 1])
  if tonumber(redis.call('hget', key, 'taken') or 0) >= limit then
    local closed = tonumber(redis.call('hget', key, 'spent') or 0) >= limit
    return {number, closed and redis.call('ttl', key) or 1, closed and 1 or 0}
  end
end
for number, key in ipairs(KEYS) do
  if redis.call('hincrby', key, 'taken', 1) == 1 then redis.call('expire', key, ARGV[2 * number]) end
end
return {0, 0, 0}
"""
# KEYS: budgets. ARGV: limit, window and block of each. Returns the numbers of those that this closes. If a window has
# ended since the place was taken, one of the next window is spent.
_SPEND = """
local closed = {}
for number, key in ipairs(KEYS) do
  local limit, window, block = tonumber(ARGV[3 * number - 2]), ARGV[3 * number - 1], tonumber(ARGV[3 * number])
  local spent = redis.call('hincrby', key, 'spent', 1)
  if redis.call('ttl', key) < 0 then redis.call('expire', key, window) end
  if tonumber(redis.call('hget', key, 'taken') or 0) < spent then redis.call('hset', key, 'taken', spent) end
  if spent == limit then
    if block > 0 then redis.call('expire', key, block) end
    table.insert(closed, number)
  end
end
return closed
"""
# KEYS: budgets. ARGV: for each, 1 if its spent places are freed too. Frees a place of each that is taken and not spent.
_GIVE_BACK = """
for number, key in ipairs(KEYS) do
  local spent = tonumber(redis.call('hget', key, 'spent') or 0)
  if tonumber(redis.call('hget', key, 'taken') or 0) > spent then redis.call('hincrby', key, 'taken', -1) end
  if ARGV[number] == '1' and spent > 0 then
    redis.call('hincrby', key, 'taken', -spent)
    redis.call('hset', key, 'spent', 0)
  end
end
"""


class CountersAway(Unavailable):
    """Nothing that must be counted is let through uncounted."""

    code = "cache_unavailable"


@dataclass(frozen=True, slots=True)
class Budget:
    """`limit` places for `window` seconds. When all are spent it is closed for `block` seconds; 0: until the window ends.

    `forgiving`: a success frees the spent places. A limit of 0 or less is off.
    """

    quota: str
    key: str
    limit: int
    window: int
    block: int = 0
    forgiving: bool = False

    @property
    def redis_key(self) -> str:
        return f"{settings.rate_limit_key_prefix}:attempts:{self.quota}:{self.key}"


class BudgetFull(Exception):
    """`closed`: all of its places are spent. Otherwise some are taken by attempts that are still under way."""

    def __init__(self, budget: Budget, retry_after: int, *, closed: bool):
        super().__init__(budget.quota)
        self.budget, self.retry_after, self.closed = budget, retry_after, closed


class Attempt:
    """Places that were taken in budgets, until `give_back`, `succeed` or `spend` is called: the first of them counts."""

    def __init__(self, budgets: Iterable[Budget]):
        self.budgets = [budget for budget in budgets if budget.limit > 0]
        self.keys = [budget.redis_key for budget in self.budgets]
        self.ended = False

    def take(self) -> None:
        """Raises BudgetFull, and takes no place at all, if one of the budgets has none left. Raises CountersAway."""
        if not self.keys:
            return
        values = [value for budget in self.budgets for value in (budget.limit, budget.window)]
        try:
            number, seconds, closed = fast_redis_client().eval(_TAKE, len(self.keys), *self.keys, *values)
        except redis.RedisError as error:
            _warn(error)
            raise CountersAway() from error
        if number:
            raise BudgetFull(self.budgets[number - 1], max(1, seconds), closed=bool(closed))

    def give_back(self) -> None:
        """Free the places. If Redis is away, they stay taken until their windows end."""
        self._end(_GIVE_BACK, *(0 for _ in self.budgets))

    def succeed(self) -> None:
        """Free the places, and what was spent before in budgets that forgive."""
        self._end(_GIVE_BACK, *(int(budget.forgiving) for budget in self.budgets))

    def spend(self) -> list[Budget]:
        """Keep the places. Returns the budgets that this has closed."""
        values = [value for budget in self.budgets for value in (budget.limit, budget.window, budget.block)]
        return [self.budgets[number - 1] for number in self._end(_SPEND, *values)]

    def _end(self, script: str, *values: int) -> list[int]:
        if self.ended or not self.keys:
            return []
        self.ended = True
        try:
            return fast_redis_client().eval(script, len(self.keys), *self.keys, *values) or []
        except redis.RedisError as error:
            _warn(error)
            return []


@contextlib.contextmanager
def attempt(budgets: Iterable[Budget]) -> Iterator[Attempt]:
    """Take places for the block. Unless the block has spent them, they are given back.

    Raises BudgetFull or CountersAway.
    """
    taken = Attempt(budgets)
    taken.take()
    try:
        yield taken
    finally:
        taken.give_back()


def reopen(budget: Budget) -> None:
    """Free all places."""
    try:
        fast_redis_client().delete(budget.redis_key)
    except redis.RedisError as error:
        _warn(error)


def _warn(error: redis.RedisError) -> None:
    log.warning("attempts.unavailable", extra={"reason": repr(error)})
