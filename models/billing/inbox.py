"""The inbox of Stripe's events: stored before they are acknowledged, and itself the queue of those that process them.

A row is due (`due_at`) until it is processed. What fails waits longer each time, and is parked after ATTEMPTS: then
nothing is due, and a person has to look. A redelivery by Stripe and a replay by an operator make it due again.
"""

import logging
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

import orjson
from prometheus_client import Counter

from models.billing import events, stripe_prices
from models.billing.events import InboxEvent
from models.billing.normal_form import normal_form
from models.billing.stripe_order import time_of
from models.billing.stripe_tenants import hint
from models.platform import audit
from models.platform.database import Json, database, in_transaction
from models.platform.errors import BadRequest
from models.platform.ids import uuid7
from models.platform.json import storable_json
from models.platform.redaction import without_secrets

log = logging.getLogger(__name__)
ATTEMPTS = 15  # within an hour: see backoff
LONGEST_BACKOFF = 600  # seconds
ERROR_LENGTH = 1000
TYPE_LENGTH, OBJECT_ID_LENGTH = 128, 255
ID_LENGTH = 200  # the audit log names an event `event:<id>`, in 255 characters
SYSTEM = "system:billing"
# Rows are written in the order of their ids, so that two processes that get the same events do not block each other.
ADD = """
insert into inbox_event (id, source, external_id, type, object_id, occurred_at, payload, tenant_id)
select given.id, 'stripe', external_id, type, object_id, occurred_at, payload::jsonb, tenant.id
from unnest(%(id)s::uuid[], %(external_id)s::text[], %(type)s::text[], %(object_id)s::text[],
    %(occurred_at)s::timestamptz[], %(payload)s::text[], %(hint)s::uuid[]) as given (id, external_id, type, object_id, occurred_at, payload, hint)
left join tenant on tenant.id = hint
order by external_id
on conflict (source, external_id) do nothing returning external_id"""
# Those that are being processed are locked, and need no second push.
RESUME = """
update inbox_event set due_at = now() where id in (
    select id from inbox_event where source = 'stripe' and external_id = any(%(external_ids)s::text[]) and state <> 'processed'
        and (due_at is null or due_at > now())
    order by id for update skip locked
)"""
TAKE = """
select {columns} from inbox_event where due_at <= now() order by due_at, id limit 1 for update skip locked"""
FINISH = """
update inbox_event set state = 'processed', tenant_id = %(tenant_id)s, attempts = attempts + 1, error = null, due_at = null,
    processed_at = coalesce(processed_at, clock_timestamp()), position = coalesce(position, %(position)s), event = %(event)s
where id = %(id)s"""
FAIL = """
update inbox_event set state = 'failed', attempts = attempts + 1, error = %(error)s,
    due_at = clock_timestamp() + %(seconds)s * interval '1 second'
where id = %(id)s"""
# Due for some time, though nobody works: a job was lost, or the time to try again has come.
IS_WAITING = """
select exists (select from inbox_event where due_at < now() - interval '1 second')
    and not exists (select from job where name = %(job)s and state = 'queued')
    and not exists (select from job where name = %(job)s and state = 'running')"""
PURGE = """
delete from inbox_event where id in (
    select id from inbox_event where received_at < now() - %(days)s * interval '1 day' order by received_at limit %(limit)s
)"""
RESULTS = Counter(
    "stripe_webhook_events_total", "Stripe's events, by what became of them at each step.", ["event_type", "result"]
)
UNVERIFIED = "unverified"  # type of an event whose signature has not been checked: strangers must not create labels
for _result in ("missing_signature", "invalid_signature", "invalid_json"):
    RESULTS.labels(UNVERIFIED, _result)


class InvalidPayload(BadRequest):
    code, message = "invalid_payload", "Invalid payload."


class Delivery(NamedTuple):
    """An event as it has arrived. `payload`: its JSON text. `hint`: the tenant that it names, which may not exist."""

    id: UUID
    external_id: str
    type: str
    object_id: str | None
    occurred_at: datetime
    payload: str
    hint: UUID | None

    @classmethod
    def parse(cls, raw: bytes) -> "Delivery":
        """The event in a body whose signature has been checked. InvalidPayload if it is none."""
        try:
            payload = storable_json(raw.decode())
            event = orjson.loads(payload)
            thing = event["data"]["object"]
            names = (event["id"], event["type"])
            occurred_at, object_id = time_of(event["created"]), thing.get("id")
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError):
            raise InvalidPayload() from None
        if not all(isinstance(name, str) and name for name in names) or not isinstance(object_id, str | None):
            raise InvalidPayload()
        if len(names[0]) > ID_LENGTH or len(names[1]) > TYPE_LENGTH or len(object_id or "") > OBJECT_ID_LENGTH:
            raise InvalidPayload()
        return cls(uuid7(), *names, object_id, occurred_at, payload, hint(thing))


@in_transaction
def accept(deliveries: list[Delivery]) -> list[bool]:
    """Store events. For each: whether it is new. One that was stored before and is not processed yet is due again."""
    columns = dict(zip(Delivery._fields, map(list, zip(*deliveries, strict=True)), strict=True))
    rows = database.execute_prepared(ADD, columns).fetchall()
    fresh = {row[0] for row in rows}
    known = [one.external_id for one in deliveries if one.external_id not in fresh]
    if known:
        database.execute_prepared(RESUME, {"external_ids": known})
    is_new = []
    for one in deliveries:
        is_new.append(one.external_id in fresh)
        fresh.discard(one.external_id)  # it may have come twice at once
    return is_new


def is_waiting(job: str) -> bool:
    """Whether events have been due for a while, and no job of this name is queued or running."""
    row = database.execute_prepared(IS_WAITING, {"job": job}).fetchone()
    return bool(row[0])


@in_transaction
def take() -> InboxEvent | None:
    """The event that has been due for longest, locked; None if all that are due are being processed elsewhere."""
    return InboxEvent.one(TAKE)


@in_transaction
def finish(row: InboxEvent, tenant_id: UUID | None) -> None:
    """The event is processed: it gets its number among its tenant's events, and is published after the commit.

    One that is processed again keeps its number and its tenant. Call it last: it locks the tenant's events.
    """
    position, form = row.position, row.event
    if position is not None:
        tenant_id = row.tenant_id
    if tenant_id is not None and position is None:
        form = normal_form(tenant_id, row.payload or {}, stripe_prices.known_prices())
        position = events.number(tenant_id)
    values = {"id": row.id, "tenant_id": tenant_id, "position": position, "event": form and Json(form)}
    database.execute_prepared(FINISH, values)
    if tenant_id is not None and row.position is None and position is not None and form is not None:
        numbered = [(position, form)]
        database.after_commit(lambda: events.publish(tenant_id, numbered))


@in_transaction
def fail(row: InboxEvent, error: Exception) -> bool:
    """An attempt has failed. Returns whether the event is parked now."""
    attempts = row.attempts + 1
    is_parked = attempts >= ATTEMPTS
    said = f"{type(error).__name__}: {error}".partition("\n")[
        0
    ]  # Postgres goes on with parts of the row: personal data
    text = without_secrets(said)[:ERROR_LENGTH]
    seconds = None if is_parked else backoff(attempts)
    database.execute_prepared(FAIL, {"id": row.id, "error": text, "seconds": seconds})
    if is_parked:
        details: dict[str, Any] = {"type": row.type, "attempts": attempts, "error": text}
        audit.record("billing.event_parked", SYSTEM, f"event:{row.external_id}", tenant_id=row.tenant_id, **details)
        log.error("billing.event_parked", extra={"event": row.external_id, **details})
    return is_parked


def backoff(attempts: int) -> int:
    """Seconds until the next attempt: 1, 2, 4 ..., at most LONGEST_BACKOFF."""
    return min(LONGEST_BACKOFF, 1 << (attempts - 1))


def purge(days: int, limit: int = 5000) -> int:
    """Delete at most `limit` events received more than `days` days ago, of whatever state: payloads hold personal data."""
    return cast(int, database.execute_prepared(PURGE, {"days": days, "limit": limit}).rowcount)
