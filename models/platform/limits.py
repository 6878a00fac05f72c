"""Rate limits and concurrency limits in Redis. While Redis is down, calls are let through and a warning is logged."""

import logging
import secrets
import time
from functools import cache

import redis
from limits import RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter

from models.platform.errors import RateLimited
from models.platform.redis import fast_redis_client
from models.platform.settings import settings

log = logging.getLogger(__name__)
HOUR, DAY = 3600, 86_400  # windows, in seconds
SLOT_SECONDS = 300  # after which a slot that is not renewed is free again

# KEYS[1]: sorted set of holders by expiry. ARGV: now, holder, expiry, limit. Returns 0, or seconds until a slot is free.
_TAKE = """
redis.call('zremrangebyscore', KEYS[1], 0, ARGV[1])
if redis.call('zscore', KEYS[1], ARGV[2]) == false and redis.call('zcard', KEYS[1]) >= tonumber(ARGV[4]) then
  return math.ceil(redis.call('zrange', KEYS[1], 0, 0, 'withscores')[2] - ARGV[1])
end
redis.call('zadd', KEYS[1], ARGV[3], ARGV[2])
redis.call('expire', KEYS[1], 600)
return 0
"""


class QuotaExceeded(RateLimited):
    code = "rate_limit_exceeded"

    def __init__(self, quota: str, retry_after: int, message: str | None = None):
        super().__init__(
            message or f"Rate limit exceeded ({quota}). Retry after {retry_after}s.",
            retry_after=retry_after,
            details={"quota": quota, "Retry-After": str(retry_after)},
        )
        self.quota = quota
        log.warning("rate_limit.block", extra={"quota": quota, "retry_after": retry_after})


@cache
def _windows() -> FixedWindowRateLimiter:
    pool = fast_redis_client().connection_pool
    storage = RedisStorage("redis://", pool, key_prefix=settings.rate_limit_key_prefix)  # the pool knows the URL
    return FixedWindowRateLimiter(storage)


def hit(quota: str, limit: int, seconds: int, *parts: object, message: str | None = None) -> None:
    """Count a call in its fixed window of `seconds`; QuotaExceeded beyond `limit`. A limit of 0 or less is off."""
    if limit <= 0:
        return
    window, key = RateLimitItemPerSecond(limit, seconds), [quota, *map(str, parts)]
    try:
        if _windows().hit(window, *key):
            return
        reset = _windows().get_window_stats(window, *key).reset_time
    except redis.RedisError as error:
        log.warning("rate_limit.unavailable", extra={"quota": quota, "reason": repr(error)})
        return
    raise QuotaExceeded(quota, max(1, round(reset - time.time())), message)


def within(quota: str, limit: int, seconds: int, *parts: object) -> bool:
    """Like `hit`, for answers that must not tell: False beyond `limit`."""
    try:
        hit(quota, limit, seconds, *parts)
    except QuotaExceeded:
        return False
    return True


class Slot:
    """One of a caller's concurrent streams. After a crash it expires on its own."""

    def __init__(self, quota: str, key: str, holder: str, limit: int):
        self.quota, self.key, self.holder, self.limit = quota, key, holder, limit
        self.renewed = time.time()

    @classmethod
    def take(cls, quota: str, limit: int, *parts: object) -> "Slot | None":
        """Take a slot; None if the limit is 0 or less, that is, off. QuotaExceeded if all are taken."""
        if limit <= 0:
            return None
        key = ":".join([settings.rate_limit_key_prefix, "concurrency", quota, *map(str, parts)])
        slot = cls(quota, key, secrets.token_hex(8), limit)
        if wait := slot._put():
            raise QuotaExceeded(quota, min(wait, SLOT_SECONDS))
        return slot

    def _put(self) -> int:
        now = time.time()
        try:
            return int(fast_redis_client().eval(_TAKE, 1, self.key, now, self.holder, now + SLOT_SECONDS, self.limit))
        except redis.RedisError as error:
            log.warning("rate_limit.unavailable", extra={"quota": self.quota, "reason": repr(error)})
            return 0

    def renew(self) -> None:
        """Keep the slot. Cheap to call often: it writes once in SLOT_SECONDS / 2."""
        if time.time() - self.renewed > SLOT_SECONDS / 2:
            self.renewed = time.time()
            self._put()

    def release(self) -> None:
        try:
            fast_redis_client().zrem(self.key, self.holder)
        except redis.RedisError as error:
            log.warning("rate_limit.unavailable", extra={"quota": self.quota, "reason": repr(error)})
