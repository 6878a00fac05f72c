"""Whether a session or service token is still open, remembered in Redis so that requests need not ask Postgres.

Key `session:<id>` -> "1" open (for OPEN_SECONDS), "0" ended. Ending one overwrites the key at once. If Redis is away at
that moment, an entry that says "open" outlives the end by OPEN_SECONDS at most.
"""

import logging
from collections.abc import Callable
from uuid import UUID

import redis

from models.platform.database import database, in_transaction
from models.platform.redis import fast_redis_client
from models.platform.settings import settings

log = logging.getLogger(__name__)
OPEN, ENDED, OPEN_SECONDS = b"1", b"0", 60


def is_open(session_id: UUID, ask_postgres: Callable[[UUID], bool]) -> bool:
    """The remembered state; `ask_postgres(session_id)` decides when Redis has none or cannot be reached."""
    try:
        state = fast_redis_client().get(_key(session_id))
    except redis.RedisError as error:
        _warn(error)
        return ask_postgres(session_id)
    if state is not None:
        return bool(state == OPEN)
    open_in_postgres = ask_postgres(session_id)
    if open_in_postgres:
        _remember_open(session_id)
    return open_in_postgres


@in_transaction
def end(session_ids: list[UUID]) -> None:
    """Refuse the access tokens of these sessions as soon as the transaction commits."""
    database.after_commit(lambda: _remember_ended(session_ids))


def _remember_open(session_id: UUID) -> None:
    """`nx` keeps an end that was remembered meanwhile."""
    try:
        fast_redis_client().set(_key(session_id), OPEN, ex=OPEN_SECONDS, nx=True)
    except redis.RedisError as error:
        _warn(error)


def _remember_ended(session_ids: list[UUID]) -> None:
    seconds = 60 * settings.access_token_expire_minutes + 60
    pipeline = fast_redis_client().pipeline(transaction=False)
    for session_id in session_ids:
        pipeline.set(_key(session_id), ENDED, ex=seconds)
    try:
        pipeline.execute()
    except redis.RedisError as error:
        _warn(error)


def _key(session_id: UUID) -> str:
    return f"session:{session_id}"


def _warn(error: redis.RedisError) -> None:
    log.warning("auth.session_state_unavailable", extra={"reason": repr(error)})
