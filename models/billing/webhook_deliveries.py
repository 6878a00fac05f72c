"""What was sent to a tenant's webhook, and how that ended."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from peewee import JOIN

from models.billing.notices import WEBHOOK, Delivery, Notice
from models.platform.database import in_transaction
from models.platform.errors import Conflict
from models.platform.keyset import KeysetPage
from models.platform.principal import Principal
from models.tenants.settings import TenantSettings


class NoWebhook(Conflict):
    code, message = "no_webhook", "The tenant has no billing webhook: save its URL in the settings first."


class ListedDelivery(NamedTuple):
    """`kind`: of the notice; None for a test."""

    id: UUID
    created_at: datetime
    kind: str | None
    state: str
    attempts: int
    status_code: int | None
    error: str | None
    finished_at: datetime | None


def page(principal: Principal, limit: int, cursor: str | None) -> KeysetPage[ListedDelivery]:
    """The newest first. InvalidCursor."""
    row = Delivery
    query = row.visible_to(principal).where((row.tenant_id == principal.tenant_id) & (row.channel == WEBHOOK))
    query = query.select(
        row.id, row.created_at, Notice.kind, row.state, row.attempts, row.status_code, row.error, row.finished_at
    ).join(Notice, JOIN.LEFT_OUTER, on=(Notice.id == row.notice_id))
    return KeysetPage.of(query, ListedDelivery, [row.created_at, row.id], limit, cursor)


@in_transaction
def add_test(tenant_id: UUID) -> Delivery:
    """A message that says nothing, on its way to the webhook; whoever calls this enqueues it. NoWebhook."""
    if TenantSettings.of_tenant(tenant_id).billing_webhook_url is None:
        raise NoWebhook()
    return Delivery.create(tenant_id=tenant_id, channel=WEBHOOK)
