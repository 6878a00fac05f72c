"""Idempotency keys, by Stripe's rules: what the first request with a key was answered, later ones are answered too."""

import hashlib
import json
from typing import Any

from devstack.stripe.errors import key_in_use, malformed, other_endpoint, other_parameters
from devstack.stripe.shapes import DAY
from devstack.stripe.store import Store

_LIFETIME, _LONGEST = DAY, 255


class Replay(Exception):
    """The answer of the first request: its status, body and request id."""

    def __init__(self, status: int, body: dict[str, Any], request: str) -> None:
        super().__init__(status)
        self.status, self.body, self.request = status, body, request


def fingerprint(path: str, form: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([path, form], sort_keys=True).encode()).hexdigest()


def begin(store: Store, key: str, path: str, mark: str, request: str, now: int) -> None:
    """Reserve a key for a request. Raises Replay, or an ApiError if the key is in use or had other parameters."""
    if len(key) > _LONGEST:
        raise malformed(f"Idempotency keys can be up to {_LONGEST} characters long.")
    with store.transaction():
        store.db.execute("delete from idempotency where key = ? and at <= ?", (key, now - _LIFETIME))
        rows = store.rows("select fingerprint, path, status, body, request from idempotency where key = ?", (key,))
        if not rows:
            store.db.execute(
                "insert into idempotency (key, fingerprint, path, at, request) values (?, ?, ?, ?, ?)",
                (key, mark, path, now, request),
            )
            return
    before, used_for, status, body, first = rows[0]
    if used_for != path:
        raise other_endpoint(key, used_for)
    if before != mark:
        raise other_parameters(key)
    if status is None:
        raise key_in_use(key)
    raise Replay(status, json.loads(body), first)


def keep(store: Store, key: str, status: int, body: dict[str, Any]) -> None:
    """Store the answer. Call it in the transaction of the request, so that neither is kept without the other."""
    store.db.execute("update idempotency set status = ?, body = ? where key = ?", (status, json.dumps(body), key))


def release(store: Store, key: str) -> None:
    """The request was not executed: another may use its key."""
    store.db.execute("delete from idempotency where key = ? and status is null", (key,))


def tidy(store: Store, now: int) -> None:
    """At start: requests that were in progress when the process ended have left nothing, and old keys are over."""
    store.db.execute("delete from idempotency where status is null or at <= ?", (now - _LIFETIME,))
