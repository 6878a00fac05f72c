"""The inbox as operators see it: all tenants' events with their attempts and errors, and the replay of some."""

from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from peewee import SQL

from models.billing.event_history import InvalidEventCursor
from models.billing.events import FAILED, STRIPE, InboxEvent
from models.platform import audit
from models.platform.authorization import Caller
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.database import in_transaction
from models.platform.errors import NotFound
from models.platform.ids import parse_uuid
from models.platform.keyset import InvalidCursor, KeysetPage

PARKED = "parked"  # failed so often that nobody tries again by themselves
COLUMNS = (
    InboxEvent.id,
    InboxEvent.received_at,
    InboxEvent.external_id,
    InboxEvent.type,
    InboxEvent.object_id,
    InboxEvent.tenant_id,
    InboxEvent.occurred_at,
    InboxEvent.state,
    InboxEvent.attempts,
    InboxEvent.error,
    InboxEvent.due_at,
    InboxEvent.processed_at,
    InboxEvent.position,
)


class EventNotFound(NotFound):
    code, message = "event_not_found", "Event not found."


class Dispatch(NamedTuple):
    """An event of Stripe without its payload. `error`: of the last attempt."""

    id: UUID
    received_at: datetime
    external_id: str
    type: str
    object_id: str | None
    tenant_id: UUID | None
    occurred_at: datetime
    state: str
    attempts: int
    error: str | None
    due_at: datetime | None
    processed_at: datetime | None
    position: int | None

    @classmethod
    def of(cls, row: InboxEvent) -> "Dispatch":
        return cls(*(getattr(row, name) for name in cls._fields))

    @property
    def shown_state(self) -> str:
        return PARKED if self.state == FAILED and self.due_at is None else self.state


class Filter(NamedTuple):
    """What is not None narrows it. `state`: that of a row, or `parked`."""

    state: str | None = None
    type: str | None = None
    tenant_id: UUID | None = None

    def narrow(self, query: Any) -> Any:
        query = query.where(InboxEvent.source == STRIPE)
        if self.state == PARKED:
            query = query.where((InboxEvent.state == FAILED) & InboxEvent.due_at.is_null())
        elif self.state is not None:
            query = query.where(InboxEvent.state == self.state)
        for column, value in ((InboxEvent.type, self.type), (InboxEvent.tenant_id, self.tenant_id)):
            if value is not None:
                query = query.where(column == value)
        return query


def page(wanted: Filter, limit: int, cursor: str | None = None) -> KeysetPage[Dispatch]:
    """Stripe's events, those received last first. InvalidEventCursor."""
    query = wanted.narrow(InboxEvent.select(*COLUMNS))
    try:
        return KeysetPage.of(query, Dispatch, [InboxEvent.received_at, InboxEvent.id], limit, cursor)
    except InvalidCursor:
        raise InvalidEventCursor() from None


def find(name: str) -> InboxEvent:
    """The event of Stripe with this id, of ours or of Stripe's. EventNotFound."""
    event_id = parse_uuid(name)
    is_it = InboxEvent.external_id == name if event_id is None else InboxEvent.id == event_id
    found: InboxEvent | None = InboxEvent.get_or_none((InboxEvent.source == STRIPE) & is_it)
    if found is None:
        raise EventNotFound()
    return found


@in_transaction
def read(name: str, by: Caller, client: ClientInfo = UNKNOWN_CLIENT) -> InboxEvent:
    """Like `find`, for somebody who sees the payload, which holds personal data: the audit log says who did."""
    row = find(name)
    audit.record("billing.event_read", by, f"event:{row.external_id}", tenant_id=row.tenant_id, client=client)
    return row


@in_transaction
def replay(name: str, by: Caller, client: ClientInfo = UNKNOWN_CLIENT) -> InboxEvent:
    """Make one event due, whatever became of it. The caller enqueues the job. EventNotFound.

    What a replay of a processed event says overwrites nothing newer, and the event keeps its number.
    """
    row = find(name)
    InboxEvent.update(due_at=SQL("now()")).where(InboxEvent.id == row.id).execute()
    audit.record("billing.event_replayed", by, f"event:{row.external_id}", tenant_id=row.tenant_id, client=client)
    return InboxEvent.get_by_id(row.id)


@in_transaction
def replay_all(wanted: Filter, limit: int, by: Caller, client: ClientInfo = UNKNOWN_CLIENT) -> int:
    """Make at most `limit` events due, those received first, and return how many. The caller enqueues the job."""
    oldest = wanted.narrow(InboxEvent.select(InboxEvent.id)).order_by(InboxEvent.received_at, InboxEvent.id)
    if wanted.state is None:
        raise ValueError("A replay names a state.")
    chosen = oldest.limit(limit).for_update(skip_locked=True)
    count = cast(int, InboxEvent.update(due_at=SQL("now()")).where(InboxEvent.id.in_(chosen)).execute())
    if count:
        details = {name: str(value) for name, value in wanted._asdict().items() if value is not None}
        audit.record("billing.events_replayed", by, tenant_id=wanted.tenant_id, client=client, count=count, **details)
    return count
