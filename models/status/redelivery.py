"""Fan-outs and deliveries as operators see them; and deliveries that are to be sent again."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from peewee import JOIN, fn

from models.platform import audit
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import Conflict, NotFound
from models.platform.keyset import KeysetPage
from models.platform.principal import Principal, Root
from models.status.deliveries import PENDING, Fanout, StatusDelivery, give_up_time
from models.status.incidents import Incident, Update
from models.status.subscriptions import ACTIVE, StatusSubscription


class DeliveryNotFound(NotFound):
    code, message = "delivery_not_found", "Delivery not found."


class SubscriptionNotActive(Conflict):
    code, message = "subscription_not_active", "The subscription of this delivery is not active any more."


class FanoutSummary(NamedTuple):
    """`incident_id`: the slug. `total`: the deliveries that were made."""

    id: UUID
    created_at: datetime
    incident_id: str
    update_id: UUID
    kind: str
    severity: str
    scope: str
    tenant_id: UUID | None
    creator: str
    total: int
    handed_out_at: datetime | None
    finished_at: datetime | None


class DeliverySummary(NamedTuple):
    """`target`: as lists show it; a Slack channel as it is."""

    id: UUID
    created_at: datetime
    fanout_id: UUID
    incident_id: str
    update_id: UUID
    subscription_id: UUID | None
    tenant_id: UUID | None
    channel: str
    host: str
    target: str
    state: str
    attempts: int
    due_at: datetime
    status_code: int | None
    error: str | None
    finished_at: datetime | None


class Filter(NamedTuple):
    """What is None does not matter."""

    incident_id: str | None = None
    fanout_id: UUID | None = None
    subscription_id: UUID | None = None
    state: str | None = None
    channel: str | None = None


def fanouts_page(incident_id: str | None, limit: int, cursor: str | None) -> KeysetPage[FanoutSummary]:
    """The newest first. InvalidCursor."""
    columns = [Incident.slug if name == "incident_id" else getattr(Fanout, name) for name in FanoutSummary._fields]
    query = Fanout.select(*columns).join(Update, on=(Update.id == Fanout.update_id))
    query = query.join(Incident, on=(Incident.id == Update.incident_id))
    query = query.where(Incident.slug == incident_id) if incident_id else query
    return KeysetPage.of(query, FanoutSummary, [Fanout.created_at, Fanout.id], limit, cursor)


def deliveries_page(wanted: Filter, limit: int, cursor: str | None) -> KeysetPage[DeliverySummary]:
    """The newest first. InvalidCursor."""
    one = StatusDelivery
    joined = {"incident_id": Incident.slug, "target": fn.coalesce(StatusSubscription.target_masked, one.target)}
    columns = [joined.get(name) or getattr(one, name) for name in DeliverySummary._fields]
    query = one.select(*columns).join(Update, on=(Update.id == one.update_id))
    query = query.join(Incident, on=(Incident.id == Update.incident_id)).switch(one)
    query = query.join(StatusSubscription, JOIN.LEFT_OUTER, on=(StatusSubscription.id == one.subscription_id))
    conditions = (
        (Incident.slug, wanted.incident_id),
        (one.fanout_id, wanted.fanout_id),
        (one.subscription_id, wanted.subscription_id),
        (one.state, wanted.state),
        (one.channel, wanted.channel),
    )
    for column, value in conditions:
        query = query.where(column == value) if value is not None else query
    return KeysetPage.of(query, DeliverySummary, [one.created_at, one.id], limit, cursor)


@in_transaction
def redeliver(
    by: Principal | Root, delivery_id: UUID, client: ClientInfo, *, subscription_id: UUID | None = None
) -> StatusDelivery:
    """Have a delivery sent again, whatever became of it, and tried for another day. It keeps its id, by which receivers know it.

    `subscription_id`: it must be one of this subscription. DeliveryNotFound, SubscriptionNotActive. Who calls it enqueues the job
    that sends it.
    """
    row = StatusDelivery.lock(delivery_id)
    if row is None or subscription_id not in (None, row.subscription_id):
        raise DeliveryNotFound()
    if row.subscription_id is not None and StatusSubscription.get_by_id(row.subscription_id).status != ACTIVE:
        raise SubscriptionNotActive()
    if row.state == PENDING and row.claimed_until is not None and row.claimed_until > now():
        return row  # it is being sent at this moment
    again = {"state": PENDING, "attempts": 0, "due_at": now(), "give_up_at": give_up_time(), "finished_at": None}
    StatusDelivery.update(**again, claim=None, claimed_until=None).where(StatusDelivery.id == row.id).execute()
    Fanout.update(finished_at=None).where(Fanout.id == row.fanout_id).execute()
    audit.record(
        "status_delivery.redelivered",
        by,
        f"status_delivery:{row.id}",
        tenant_id=row.tenant_id,
        client=client,
        channel=row.channel,
        former_state=row.state,
    )
    return StatusDelivery.get_by_id(row.id)
