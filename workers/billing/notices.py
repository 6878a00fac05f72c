"""Telling people about their billing: who is told, and the tenant's webhook. Mails: workers/mail/billing.py."""

import time
from typing import Any

from models.billing.notices import DELIVERED, GIVEN_UP, MAIL, PENDING, WEBHOOK, Delivery, Notice, recipients, untold
from models.platform import audit, public_urls
from models.platform.clock import iso, now
from models.platform.database import in_transaction, release, transaction
from models.platform.ids import parse_uuid
from models.platform.json import encode
from models.tenants import webhook_secrets
from models.tenants.settings import TenantSettings
from workers import metrics
from workers.gateways import webhooks
from workers.jobs import BILLING_GIVE_UP, BILLING_TELL, BILLING_WEBHOOK, MAIL_BILLING, enqueue
from workers.runtime import Lease, actor

BATCH = 100
GONE = 410  # the receiver wants no more
TEST = "test"  # the kind of a test of the webhook


@actor(BILLING_TELL)
def tell(lease: Lease) -> None:
    """Make the deliveries of all notices that nobody was told yet."""
    found = BATCH
    while found == BATCH:
        lease.checkpoint()
        with transaction():
            notices = untold(BATCH)
            for notice in notices:
                _hand_out(notice)
            Notice.update(told_at=now()).where(Notice.id.in_([notice.id for notice in notices])).execute()
        found = len(notices)


@in_transaction
def _hand_out(notice: Notice) -> None:
    tenant_id, settings = notice.tenant_id, TenantSettings.of_tenant(notice.tenant_id)
    for address in recipients(settings):
        delivery = Delivery.create(tenant_id=tenant_id, notice_id=notice.id, channel=MAIL, address=address)
        enqueue(MAIL_BILLING, tenant_id=tenant_id, delivery_id=str(delivery.id))
    if settings.billing_webhook_url:
        delivery = Delivery.create(tenant_id=tenant_id, notice_id=notice.id, channel=WEBHOOK)
        enqueue(BILLING_WEBHOOK, tenant_id=tenant_id, delivery_id=str(delivery.id))


@actor(BILLING_WEBHOOK)
def send_webhook(lease: Lease) -> None:
    """Post a notice to the webhook that the tenant has now. A failure is retried for a day; that of a test is not."""
    delivery = _delivery(lease)
    if delivery is None:
        return
    url = TenantSettings.of_tenant(delivery.tenant_id).billing_webhook_url
    if url is None:
        _give_up(lease, delivery, None, "The tenant has no webhook any more.")
        return
    message = webhooks.Message(f"msg_{delivery.id.hex}", encode(_body(delivery)))
    with transaction():
        secrets = webhook_secrets.signing(delivery.tenant_id)
    release()
    try:
        status = webhooks.send(url, message, secrets, int(time.time()))
    except webhooks.TargetRefused as error:
        _give_up(lease, delivery, None, error.reason, url)
    except webhooks.DeliveryFailed as error:
        if error.status == GONE or delivery.notice_id is None:
            _give_up(lease, delivery, error.status, error.reason, url)
            return
        with transaction():
            delivery.fail(error.status, error.reason)
        raise
    else:
        with transaction():
            lease.job.finish()
            delivery.end(DELIVERED, status_code=status)
        metrics.notice_ended(WEBHOOK, DELIVERED)


@actor(BILLING_GIVE_UP)
def give_up(lease: Lease) -> None:
    """After the last attempt to deliver a notice."""
    delivery = _delivery(lease)
    if delivery is not None:
        _give_up(lease, delivery, delivery.status_code, delivery.error or "All attempts have failed.")


def _delivery(lease: Lease) -> Delivery | None:
    found = Delivery.get_or_none(Delivery.id == parse_uuid(lease.job.args["delivery_id"]))
    return found if found is not None and found.state == PENDING else None


def _give_up(lease: Lease, delivery: Delivery, status: int | None, reason: str, url: str | None = None) -> None:
    with transaction():
        lease.job.finish()
        if not delivery.end(GIVEN_UP, status_code=status, error=reason):
            return
        audit.record(
            "billing_notice.given_up",
            "worker",
            f"tenant:{delivery.tenant_id}",
            tenant_id=delivery.tenant_id,
            delivery=str(delivery.id),
            channel=delivery.channel,
            why=reason,
            webhook=public_urls.masked(url),
        )
    metrics.notice_ended(delivery.channel, GIVEN_UP)


def _body(delivery: Delivery) -> dict[str, Any]:
    """What receivers get: type, time and data, as Standard Webhooks proposes."""
    notice = Notice.get_by_id(delivery.notice_id) if delivery.notice_id else None
    details = notice.details if notice else {}
    return {
        "type": f"billing.{notice.kind if notice else TEST}",
        "timestamp": iso(notice.created_at if notice else delivery.created_at),
        "data": {"tenant_id": str(delivery.tenant_id), **details},
    }
