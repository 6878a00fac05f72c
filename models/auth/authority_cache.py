"""What sessions and service tokens may do now, remembered in Redis, so that most requests need not ask Postgres.

Key `authority:<id of the session or service token>` -> its authority as text, after the time at which it expires and a keyed hash of all;
or CHANGED, for LIFE_SECONDS after a change.

- An entry expires LIFE_SECONDS after its reading from Postgres began. So no entry outlives a change by more than that, not
  even if Redis was away when the change was made.
- CHANGED keeps a slow reader from storing what was true before the change.
- Because of the keyed hash, somebody who can write to Redis cannot give anybody rights. It covers the time at which the
  entry expires, so that one which they copied before a change is of no use to them after it.
"""

import hmac
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import redis

from models.platform.database import database, in_transaction
from models.platform.digests import keyed_digest
from models.platform.redis import fast_redis_client

log = logging.getLogger(__name__)
LIFE_SECONDS = 5.0
CHANGED = b"changed"
DIGEST_LENGTH, TIME_LENGTH = 32, 8  # bytes


def load(holder_id: UUID, read: Callable[[UUID], bytes]) -> bytes:
    """The remembered text; what `read(holder_id)` gets from Postgres if Redis has none or cannot be reached."""
    try:
        entry: Any = fast_redis_client().get(_key(holder_id))
    except redis.RedisError as error:
        _warn(error)
        return read(holder_id)
    text = _open(holder_id, entry) if entry else None
    if text is not None:
        return text
    expires_at = time.monotonic() + LIFE_SECONDS
    text = read(holder_id)
    if entry is None:
        _store(holder_id, text, expires_at - time.monotonic())
    return text


@in_transaction
def forget(holder_ids: Iterable[UUID]) -> None:
    """Make the next request of each session or service token ask Postgres, as soon as the transaction has committed."""
    keys = [_key(holder_id) for holder_id in holder_ids]
    database.after_commit(lambda: _mark_changed(keys))


def _open(holder_id: UUID, entry: bytes) -> bytes | None:
    """The text of an entry; None for CHANGED, and for an entry that is not ours."""
    digest, signed = entry[:DIGEST_LENGTH], entry[DIGEST_LENGTH:]
    if len(signed) < TIME_LENGTH or not hmac.compare_digest(digest, _digest(holder_id, signed)):
        return None
    expires_at = int.from_bytes(signed[:TIME_LENGTH]) / 1000
    return signed[TIME_LENGTH:] if expires_at > time.time() else None


def _store(holder_id: UUID, text: bytes, seconds: float) -> None:
    """`nx`: a change that was made meanwhile stays marked."""
    milliseconds = int(1000 * seconds)
    if milliseconds <= 0:
        return
    signed = (int(1000 * time.time()) + milliseconds).to_bytes(TIME_LENGTH) + text
    try:
        fast_redis_client().set(_key(holder_id), _digest(holder_id, signed) + signed, px=milliseconds, nx=True)
    except redis.RedisError as error:
        _warn(error)


def _mark_changed(keys: list[str]) -> None:
    pipeline = fast_redis_client().pipeline(transaction=False)
    for key in keys:
        pipeline.set(key, CHANGED, px=int(1000 * LIFE_SECONDS))
    try:
        pipeline.execute()
    except redis.RedisError as error:  # the entries expire on their own
        _warn(error)


def _digest(holder_id: UUID, signed: bytes) -> bytes:
    return keyed_digest("authority", holder_id.bytes + signed)


def _key(holder_id: UUID) -> str:
    return f"authority:{holder_id}"


def _warn(error: redis.RedisError) -> None:
    log.warning("auth.authority_cache_away", extra={"reason": repr(error)})
