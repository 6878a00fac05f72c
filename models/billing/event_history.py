"""The history of a tenant's events, the newest first: processed or not, handled or not."""

import logging
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from peewee import Case, fn

from models.billing import events, stripe_prices
from models.billing.events import PROCESSED, InboxEvent
from models.billing.normal_form import Prices, bare_form, normal_form
from models.platform.keyset import InvalidCursor, KeysetPage
from models.platform.principal import Principal

log = logging.getLogger(__name__)


class InvalidEventCursor(InvalidCursor):
    message = "Invalid cursor provided."


class ListedEvent(NamedTuple):
    """`event`: the normal form, None until it is processed; `payload`: Stripe's event in its place."""

    id: UUID
    received_at: datetime
    tenant_id: UUID
    state: str
    position: int | None
    event: dict[str, Any] | None
    payload: dict[str, Any] | None


def page(
    principal: Principal, limit: int, cursor: str | None, *, event_type: str | None, state: str | None
) -> KeysetPage[dict[str, Any]]:
    """Events of the principal's tenant in the form that clients get. InvalidEventCursor."""
    row, waiting = InboxEvent, Case(None, [(fn.num_nonnulls(InboxEvent.event) == 0, InboxEvent.payload)], None)
    query = row.visible_to(principal).where(row.tenant_id == principal.tenant_id)
    for column, value in ((row.type, event_type), (row.state, state)):
        if value is not None:
            query = query.where(column == value)
    query = query.select(row.id, row.received_at, row.tenant_id, row.state, row.position, row.event, waiting)
    try:
        found = KeysetPage.of(query, ListedEvent, [row.received_at, row.id], limit, cursor)
    except InvalidCursor:
        raise InvalidEventCursor() from None
    prices = stripe_prices.known_prices() if any(one.event is None for one in found.items) else {}
    return KeysetPage([_show(one, prices) for one in found.items], found.next_cursor)


def _show(row: ListedEvent, prices: Prices) -> dict[str, Any]:
    event = _unprocessed(row, prices) if row.event is None else {**row.event, "processing_status": row.state}
    return events.as_sent(row.position if row.state == PROCESSED else None, event)


def _unprocessed(row: ListedEvent, prices: Prices) -> dict[str, Any]:
    """One that makes no sense, which is why it is not processed, must not hide the others."""
    payload = row.payload or {}
    try:
        return normal_form(row.tenant_id, payload, prices, processing_status=row.state)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError) as error:
        log.warning("billing.event_unreadable", extra={"event": payload["id"], "reason": type(error).__name__})
        return bare_form(row.tenant_id, payload, processing_status=row.state)
