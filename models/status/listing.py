"""Lists of subscriptions, and of what was sent to one of them."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from models.platform.keyset import KeysetPage
from models.status.deliveries import StatusDelivery
from models.status.incidents import Incident, Update
from models.status.subscriptions import StatusSubscription

if TYPE_CHECKING:
    from peewee import ModelSelect

    Rows = ModelSelect[StatusSubscription]

_NAMES = [field.name for field in StatusSubscription._meta.sorted_fields]  # noqa: SLF001  (peewee documents it)


class SentAlert(NamedTuple):
    """`incident_id`: the slug. `state`: pending, delivered, given_up or skipped. `status_code`, `error`: of the last attempt."""

    id: UUID
    created_at: datetime
    incident_id: str
    update_id: UUID
    state: str
    attempts: int
    status_code: int | None
    error: str | None
    finished_at: datetime | None


def page(rows: "Rows", limit: int, cursor: str | None) -> KeysetPage[StatusSubscription]:
    """Of these rows, the newest first. InvalidCursor."""
    return KeysetPage.of(rows, _row, [StatusSubscription.created_at, StatusSubscription.id], limit, cursor)


def sent(subscription_id: UUID, limit: int, cursor: str | None) -> KeysetPage[SentAlert]:
    """What was sent, or will be, to a subscription: the newest first. InvalidCursor. The caller must be able to see it."""
    one = StatusDelivery
    query = (
        one.select(
            one.id,
            one.created_at,
            Incident.slug,
            one.update_id,
            one.state,
            one.attempts,
            one.status_code,
            one.error,
            one.finished_at,
        )
        .join(Update, on=(Update.id == one.update_id))
        .join(Incident, on=(Incident.id == Update.incident_id))
        .where(one.subscription_id == subscription_id)
    )
    return KeysetPage.of(query, SentAlert, [one.created_at, one.id], limit, cursor)


def _row(*values: Any) -> StatusSubscription:
    return StatusSubscription(__no_default__=True, **dict(zip(_NAMES, values, strict=True)))
