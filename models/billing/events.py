"""The events of a tenant's billing: what Stripe said and what we did, in one numbered order.

An event gets its number, `position`, in the transaction that changes what it tells of: numbers have no gap, and their order
is that of the commits. Postgres keeps the events; Redis only makes them fast for those who listen now.

Key schema (REDIS_URL):
    billing:events:tenant:<tenant id>   stream; entry id `<position>-0`, fields k=type, e=the event's JSON, as runs have them
"""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import redis
from peewee import BigIntegerField, CharField, IntegerField, TextField, UUIDField
from prometheus_client import Counter, Gauge

from models.billing import normal_form
from models.billing.normal_form import Object
from models.billing.subscription import Subscription
from models.platform.authorization import BILLING_READ
from models.platform.clock import now
from models.platform.database import Json, database, in_transaction
from models.platform.ids import uuid7
from models.platform.json import encode, storable_value
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.redis import fast_redis_client
from models.platform.settings import settings

log = logging.getLogger(__name__)
STRIPE, LONGSHORE = "stripe", "longshore"  # sources
RECEIVED, PROCESSED, FAILED = "received", "processed", "failed"  # states
KEPT, KEPT_SECONDS = 1024, 24 * 3600  # entries of a stream, and how long it stays after the last of them
NUMBER = """
insert into billing_customer (tenant_id, position) values (%(tenant_id)s, 1)
on conflict (tenant_id) do update set position = billing_customer.position + 1 returning position"""
ADD = """
insert into inbox_event (id, source, external_id, type, tenant_id, occurred_at, state, due_at, processed_at, position, event)
values (%(id)s, 'longshore', %(external_id)s, %(type)s, %(tenant_id)s, %(at)s, 'processed', null, %(at)s, %(position)s,
    %(event)s)"""
AFTER = """
select position, type, event from inbox_event
where tenant_id = %(tenant_id)s and position > %(after)s order by position limit %(limit)s"""
# Where a stream begins that names no number: before the newest `count` events of the last day.
BEGINNING = """
select billing_customer.position, (
    select min(position) from (
        select position, processed_at from inbox_event
        where tenant_id = %(tenant_id)s and position is not null order by position desc limit %(count)s
    ) as newest where processed_at > now() - interval '1 day'
) from billing_customer where tenant_id = %(tenant_id)s"""
POSITIONS = "select tenant_id, position from billing_customer where tenant_id = any(%(tenant_ids)s)"

PUBLISHED = Counter(
    "stripe_billing_stream_events_total", "Events of billing given to the streams of tenants.", ["source", "result"]
)
BACKLOG = Gauge(
    "stripe_billing_stream_backlog_seconds",
    "Time from the newest published event to its publication.",
    multiprocess_mode="mostrecent",
)
for _source in (STRIPE, LONGSHORE):
    PUBLISHED.labels(_source, "published")  # exported as 0 before the first one


class InboxEvent(TenantModel):
    """A row of the inbox. `payload`: Stripe's event; `event`: the normal form, once it is processed."""

    owner, reading = None, BILLING_READ
    created_at = None  # type: ignore[assignment]  # received_at says it
    tenant_id = UUIDField(null=True)  # type: ignore[assignment]
    received_at = DateTimeTZField(default=now)
    source = CharField()
    external_id = CharField()
    type = CharField()
    object_id = CharField(null=True)
    occurred_at = DateTimeTZField()
    payload: dict[str, Any] | None = BinaryJSONField(null=True)
    state = CharField(default=RECEIVED)
    attempts = IntegerField(default=0)
    error = TextField(null=True)
    due_at = DateTimeTZField(null=True, default=now)
    processed_at = DateTimeTZField(null=True)
    position = BigIntegerField(null=True)
    event: dict[str, Any] | None = BinaryJSONField(null=True)


@in_transaction
def number(tenant_id: UUID) -> int:
    """The number of the tenant's next event. It locks the tenant's events until the commit: call it last."""
    row = database.execute_prepared(NUMBER, {"tenant_id": tenant_id}).fetchone()
    return cast(int, row[0])


@in_transaction
def record(
    tenant_id: UUID,
    event_type: str,
    *,
    status: str | None = None,
    summary: str | None = None,
    subscription: Subscription | None = None,
    invoice: Object | None = None,
    usage: list[Object] | None = None,
) -> int:
    """Add an act of ours to the tenant's events, and publish it after the commit. Returns its number. Call it last, as `number`.

    `event_type`: such as longshore.subscription.started. `invoice`, `usage`: sections as models.billing.normal_form makes them.
    """
    event_id, at = uuid7(), now()
    external_id = f"lsh_{event_id.hex}"
    sections: dict[str, Any] = {"subscription": subscription, "invoice": invoice, "usage": usage or ()}
    event = storable_value(
        normal_form.own_form(tenant_id, event_type, external_id, at, status=status, summary=summary, **sections)
    )
    position = number(tenant_id)
    values = {"id": event_id, "external_id": external_id, "type": event_type, "tenant_id": tenant_id, "at": at}
    database.execute_later(ADD, {**values, "position": position, "event": Json(event)})
    database.after_commit(lambda: publish(tenant_id, [(position, event)]))
    return position


def publish(tenant_id: UUID, events: Iterable[tuple[int, dict[str, Any]]]) -> None:
    """Give committed events to those who listen: (position, normal form), in order. Never raises.

    What gets lost here is read from Postgres by the streams, which miss its number.
    """
    events = list(events)
    if not settings.enable_billing_stream or not events:
        return
    key = stream_key(tenant_id)
    pipe = fast_redis_client().pipeline(transaction=False)
    for position, event in events:
        fields: dict[Any, Any] = {"k": event["event_type"], "e": encode(as_sent(position, event))}
        pipe.xadd(key, fields, id=f"{position}-0", maxlen=KEPT, approximate=False)
    pipe.expire(key, KEPT_SECONDS)
    try:
        answers = pipe.execute(raise_on_error=False)[:-1]
    except (redis.RedisError, OSError) as error:
        log.warning("billing.events_not_published", extra={"tenant_id": str(tenant_id), "reason": repr(error)})
        answers = [error] * len(events)
    for (_, event), answer in zip(events, answers, strict=True):
        _count(event, is_published=not isinstance(answer, Exception))


def _count(event: dict[str, Any], *, is_published: bool) -> None:
    """An entry whose number Redis refuses came after a later one: the streams have read it from Postgres."""
    source = LONGSHORE if event["stripe_event_id"].startswith("lsh_") else STRIPE
    PUBLISHED.labels(source, "published" if is_published else "failed").inc()
    if is_published:
        BACKLOG.set((now() - datetime.fromisoformat(event["occurred_at"])).total_seconds())


def as_sent(position: int | None, event: dict[str, Any]) -> dict[str, Any]:
    """What clients get: the normal form with its number, which is null until the event is processed."""
    return {**event, "position": position}


def stream_key(tenant_id: UUID) -> str:
    return f"billing:events:tenant:{tenant_id}"


def after(tenant_id: UUID, position: int, limit: int) -> list[tuple[int, str, dict[str, Any]]]:
    """(position, type, normal form) of the tenant's events after a position, the oldest first."""
    values = {"tenant_id": tenant_id, "after": position, "limit": limit}
    return [tuple(row) for row in database.execute_prepared(AFTER, values).fetchall()]


def newest(tenant_id: UUID, count: int) -> tuple[int, int]:
    """(position of the tenant's newest event, position before the newest `count` of the last day)."""
    row = database.execute_prepared(BEGINNING, {"tenant_id": tenant_id, "count": count}).fetchone()
    if row is None:
        return 0, 0
    last, first = row
    return last, last if first is None else first - 1


def positions(tenant_ids: list[UUID]) -> dict[UUID, int]:
    """The number of the newest event of each of these tenants."""
    return dict(database.execute_prepared(POSITIONS, {"tenant_ids": tenant_ids}).fetchall())
