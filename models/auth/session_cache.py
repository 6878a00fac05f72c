"""Whether what an access token was given for is still good: told by Redis, by Postgres when Redis does not know.

Key `session:<id>`. Revoking overwrites it at once; the life of ALIVE only bounds what a revocation made while Redis was
away can miss.
"""

import logging
from collections.abc import Callable
from uuid import UUID

import redis

from models.platform.database import database, in_transaction
from models.platform.redis import fast_redis_client
from models.platform.settings import settings

log = logging.getLogger(__name__)
ALIVE, ENDED, ALIVE_SECONDS = b"1", b"0", 60


def is_alive(session_id: UUID, is_open: Callable[[UUID], bool]) -> bool:
    """`is_open` asks Postgres."""
    key = _key(session_id)
    try:
        known = fast_redis_client().get(key)
    except redis.RedisError as error:
        log.warning("auth.session_state_unavailable", extra={"reason": repr(error)})
        return is_open(session_id)
    if known is not None:
        return known == ALIVE
    alive = is_open(session_id)
    if alive:
        try:  # NX: a revocation that has come in between stays
            fast_redis_client().set(key, ALIVE, ex=ALIVE_SECONDS, nx=True)
        except redis.RedisError as error:
            log.warning("auth.session_state_unavailable", extra={"reason": repr(error)})
    return alive


@in_transaction
def end(session_ids: list[UUID]) -> None:
    """Refuse their access tokens from the commit of the caller's transaction on."""
    database.after_commit(lambda: _remember_ended(session_ids))


def _key(session_id: UUID) -> str:
    return f"session:{session_id}"


def _remember_ended(session_ids: list[UUID]) -> None:
    seconds = 60 * settings.access_token_expire_minutes + 60
    pipe = fast_redis_client().pipeline(transaction=False)
    for session_id in session_ids:
        pipe.set(_key(session_id), ENDED, ex=seconds)
    try:
        pipe.execute()
    except redis.RedisError as error:  # what was known of them as alive lapses within ALIVE_SECONDS
        log.warning("auth.session_state_unavailable", extra={"reason": repr(error)})
