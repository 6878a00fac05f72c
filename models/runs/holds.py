"""What work that is under way has reserved of its tenant's limits, in Redis: looked at and taken in one atomic step.

Key schema (REDIS_URL):
    usage:<tenant id>   hash, which expires USAGE_GUARDRAIL_CACHE_TTL_SECONDS after it was loaded:
        stamp             what the numbers were loaded for: see models/billing/quotas.py
        server            the id of the Redis process that they were given to
        used:<feature>    what was counted in the window, hard:<feature>, soft:<feature> its limits
        held:<feature>    what is reserved
        holder:<id>       what this holder has reserved: "feature=quantity feature=quantity"

Postgres is the truth. A key that is gone, of another stamp, or from another process of Redis (after a restart it may have
forgotten its last second) is loaded again. What Redis is not told of is right again when the key has expired.
"""

import logging
import time
from typing import Any, NamedTuple
from uuid import UUID

import redis

from models.platform.redis import fast_redis_client
from models.runs import progress

log = logging.getLogger(__name__)
AWAY_SECONDS = 1.0  # for which Redis is not asked again after it could not be reached
_SERVER = "local server = string.match(redis.call('info', 'server'), 'run_id:(%x+)')\n"
# ARGV: stamp, holder, 1 if soft limits refuse too, then feature and quantity of each. Returns {1 if held now, 2 if it was held
# before, 0 if refused, -1 if the key has to be loaded; then feature, kind, limit and what is used or reserved, of each limit that is reached}.
_RESERVE = (
    _SERVER
    + """
local key, holder = KEYS[1], 'holder:' .. ARGV[2]
local known = redis.call('hmget', key, 'stamp', 'server', holder)
if known[1] ~= ARGV[1] or known[2] ~= server then return {-1} end
if known[3] then return {2} end
local answer, refused, list = {1}, false, {}
for at = 4, #ARGV, 2 do
  local feature, quantity = ARGV[at], tonumber(ARGV[at + 1])
  local row = redis.call('hmget', key, 'used:' .. feature, 'held:' .. feature, 'hard:' .. feature, 'soft:' .. feature)
  local used, hard, soft = tonumber(row[1] or 0) + tonumber(row[2] or 0), tonumber(row[3]), tonumber(row[4])
  local least = math.max(quantity, 1)
  if hard and used + least > hard then
    refused = true
    for _, value in ipairs({feature, 'hard_limit', hard, used}) do table.insert(answer, value) end
  elseif soft and used + least > soft then
    refused = refused or ARGV[3] == '1'
    for _, value in ipairs({feature, 'soft_limit', soft, used}) do table.insert(answer, value) end
  end
  if quantity > 0 then table.insert(list, feature .. '=' .. ARGV[at + 1]) end
end
if refused then
  answer[1] = 0
  return answer
end
for at = 4, #ARGV, 2 do
  if tonumber(ARGV[at + 1]) > 0 then redis.call('hincrby', key, 'held:' .. ARGV[at], ARGV[at + 1]) end
end
redis.call('hset', key, holder, table.concat(list, ' '))
return answer
"""
)
# ARGV: holder, then feature and quantity of what it has used.
_SETTLE = """
local key, holder = KEYS[1], 'holder:' .. ARGV[1]
local held = redis.call('hget', key, holder)
if not held then return 0 end
for feature, quantity in string.gmatch(held, '([^ =]+)=(%d+)') do
  redis.call('hincrby', key, 'held:' .. feature, '-' .. quantity)
end
for at = 2, #ARGV, 2 do redis.call('hincrby', key, 'used:' .. ARGV[at], ARGV[at + 1]) end
redis.call('hdel', key, holder)
return 1
"""
_IS_LOADED = (
    _SERVER
    + """
local known = redis.call('hmget', KEYS[1], 'stamp', 'server')
return known[1] == ARGV[1] and known[2] == server and 1 or 0
"""
)
# ARGV: milliseconds, then field and value of each.
_LOAD = (
    _SERVER
    + """
redis.call('del', KEYS[1])
redis.call('hset', KEYS[1], 'server', server)
for at = 2, #ARGV, 2 do redis.call('hset', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('pexpire', KEYS[1], ARGV[1])
"""
)
_away_until = 0.0  # by time.monotonic


class Reached(NamedTuple):
    """A limit that is reached. `kind`: hard_limit or soft_limit. `used`: counted or reserved so far."""

    feature: str
    kind: str
    limit: int
    used: int


class Reservation(NamedTuple):
    """`is_held`: None if the tenant's key has to be loaded first. `is_new`: it was not held before."""

    is_held: bool | None
    is_new: bool
    reached: list[Reached]


class RedisAway(Exception):
    """Redis cannot be asked now."""


def key_of(tenant_id: UUID) -> str:
    return f"usage:{tenant_id}"


def reserve(
    tenant_id: UUID, stamp: str, holder: UUID, quantities: dict[str, int], *, soft_refuses: bool
) -> Reservation:
    """Take all of the quantities for the holder, or none. One that has its own already keeps it. RedisAway.

    A quantity of 0 takes nothing, but is refused where nothing is left.
    """
    answer = _eval(_RESERVE, tenant_id, stamp, holder, int(soft_refuses), *_flat(quantities))
    rows = [answer[at : at + 4] for at in range(1, len(answer), 4)]
    reached = [Reached(feature.decode(), kind.decode(), limit, used) for feature, kind, limit, used in rows]
    return Reservation(None if answer[0] < 0 else answer[0] > 0, answer[0] == 1, reached)


def is_loaded(tenant_id: UUID, stamp: str) -> bool:
    """Whether the tenant's numbers are known, for this stamp. RedisAway."""
    return bool(_eval(_IS_LOADED, tenant_id, stamp))


def load(tenant_id: UUID, fields: dict[str, str | int], holders: dict[UUID, dict[str, int]], seconds: float) -> None:
    """Replace what is known of a tenant. RedisAway."""
    held: dict[str, int] = {}
    for quantities in holders.values():
        for feature, quantity in quantities.items():
            held[feature] = held.get(feature, 0) + quantity
    values: dict[str, str | int] = {
        **fields,
        **{f"held:{feature}": quantity for feature, quantity in held.items()},
        **{
            f"holder:{holder}": " ".join(f"{feature}={quantity}" for feature, quantity in quantities.items())
            for holder, quantities in holders.items()
        },
    }
    _eval(_LOAD, tenant_id, max(1, round(seconds * 1000)), *_flat(values))


def settle(tenant_id: UUID, holder: UUID, used: dict[str, int]) -> None:
    """The holder has ended, and this was counted. Call it after the commit. Does not wait, and never raises."""
    progress.writer.send([("EVAL", _SETTLE, 1, key_of(tenant_id), str(holder), *_flat(used))])


def release(tenant_id: UUID, holder: UUID) -> None:
    """What the holder has reserved is free again: its work did not begin. Never raises."""
    try:
        _eval(_SETTLE, tenant_id, holder)
    except RedisAway:
        log.warning("usage.not_released", extra={"tenant_id": str(tenant_id), "holder": str(holder)})


def forget(tenant_id: UUID) -> None:
    """Have the tenant's numbers loaded again before they are used next. Does not wait, and never raises."""
    progress.writer.send([("UNLINK", key_of(tenant_id))])


def _eval(script: str, tenant_id: UUID, *values: object) -> Any:
    global _away_until  # noqa: PLW0603  (one per process)
    if time.monotonic() < _away_until:
        raise RedisAway
    try:
        answer = fast_redis_client().eval(script, 1, key_of(tenant_id), *map(str, values))
    except redis.RedisError as error:
        _away_until = time.monotonic() + AWAY_SECONDS
        log.warning("usage.redis_away", extra={"reason": repr(error)})
        raise RedisAway from error
    return answer


def _flat(values: dict[str, int] | dict[str, str | int]) -> list[str | int]:
    return [part for pair in values.items() for part in pair]
