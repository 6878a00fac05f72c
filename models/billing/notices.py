"""Notices: what the people of a tenant are told about its billing, each once.

A notice is a row, written in the transaction of what it tells of. `python -m scheduler.main` has them told within a minute:
workers/billing/notices.py.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from peewee import CharField, IntegerField, TextField, UUIDField

from models.billing.invoices import PAID, VOID, Invoice
from models.billing.normal_form import invoice_section, time_of
from models.billing.subscription import TRIALING, Subscription
from models.platform.authorization import BILLING_READ
from models.platform.clock import iso, now
from models.platform.database import database, in_transaction
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.tenants.settings import TenantSettings

PAYMENT_FAILED, ACTION_REQUIRED = "payment_failed", "payment_action_required"
TRIAL_WILL_END, CANCELED = "trial_will_end", "subscription_canceled"
LIMIT_80, LIMIT_100, OPERATION_FAILED = "limit_80", "limit_100", "operation_failed"
OF_INVOICES = {"invoice.payment_failed": PAYMENT_FAILED, "invoice.payment_action_required": ACTION_REQUIRED}
KINDS = (PAYMENT_FAILED, ACTION_REQUIRED, TRIAL_WILL_END, CANCELED, LIMIT_80, LIMIT_100, OPERATION_FAILED)
MAIL, WEBHOOK = "mail", "webhook"
PENDING, DELIVERED, GIVEN_UP = "pending", "delivered", "given_up"
OLDEST = timedelta(days=3)  # what happened earlier is not told any more: it is history, such as after a replay
OWNERS = """
select email from users join membership on membership.user_id = users.id
where membership.tenant_id = %(tenant_id)s and role = 'owner' and status = 'active' and email_verified_at is not null
order by users.id limit 10"""
PURGE = "delete from {table} where id in (select id from {table} where created_at < now() - %(days)s * interval '1 day' limit 5000)"


class Notice(TenantModel):
    """`key`: what it is about; the same kind is told once about it. `details`: what texts and webhooks say."""

    owner, reading = None, BILLING_READ
    kind = CharField()
    key = CharField()
    details: dict[str, Any] = BinaryJSONField(default=dict)
    told_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "billing_notice"


class Delivery(TenantModel):
    """A notice on its way to one mail address, or to the tenant's webhook, which has no `address` here."""

    owner, reading = None, BILLING_READ
    notice_id = UUIDField(null=True)  # null: a test of the webhook
    channel = CharField()
    address = CharField(default="")
    state = CharField(default=PENDING)
    attempts = IntegerField(default=0)
    status_code = IntegerField(null=True)
    error = TextField(null=True)
    finished_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "billing_delivery"

    @in_transaction
    def end(self, state: str, *, status_code: int | None = None, error: str | None = None) -> bool:
        """Record how it ended, if it has not ended yet. Returns whether it had not."""
        columns = {"state": state, "status_code": status_code, "error": error, "finished_at": now()}
        is_open = (Delivery.id == self.id) & (Delivery.state == PENDING)
        return bool(Delivery.update(attempts=Delivery.attempts + 1, **columns).where(is_open).execute())

    @in_transaction
    def fail(self, status_code: int | None, error: str) -> None:
        """Record a failed attempt; there will be another one."""
        is_open = (Delivery.id == self.id) & (Delivery.state == PENDING)
        Delivery.update(attempts=Delivery.attempts + 1, status_code=status_code, error=error).where(is_open).execute()


@in_transaction
def tell(tenant_id: UUID, kind: str, key: str, **details: Any) -> bool:
    """Have the tenant told, unless it was told before about this `key`. Returns whether it was not. `details` can be any JSON."""
    if kind not in KINDS:
        raise ValueError(kind)
    return Notice.insert_if_new(tenant_id=tenant_id, kind=kind, key=key, details=details) is not None


@in_transaction
def limit_reached(
    tenant_id: UUID, feature: str, percent: int, window: tuple[datetime, datetime], *, used: int, limit: int
) -> bool:
    """80 or 100 % of a limit are used. Returns whether that is new in this window, which begins and ends at these times."""
    start, end = map(iso, window)
    details = {"feature_key": feature, "used": used, "limit": limit, "window_start": start, "window_end": end}
    return tell(tenant_id, LIMIT_100 if percent >= 100 else LIMIT_80, f"{feature}:{start}", **details)


@in_transaction
def operation_failed(tenant_id: UUID, operation_id: UUID, kind: str, message: str) -> bool:
    """Stripe has refused what the tenant asked for, after the request was answered."""
    return tell(tenant_id, OPERATION_FAILED, str(operation_id), operation=kind, message=message)


@in_transaction
def of_stripe_event(tenant_id: UUID, payload: Mapping[str, Any]) -> bool:
    """Tell what an event of Stripe means for people, if it does and is news: returns whether it was. For every processed event."""
    thing, kind = payload.get("data", {}).get("object") or {}, str(payload.get("type"))
    if now() - datetime.fromtimestamp(payload["created"], UTC) > OLDEST:
        return False
    if told := OF_INVOICES.get(kind):
        return _is_owed(thing["id"]) and tell(tenant_id, told, thing["id"], **_of_invoice(thing))
    if kind == "customer.subscription.trial_will_end" and _counts(tenant_id, thing["id"], TRIALING):
        ends = thing.get("trial_end")
        return tell(tenant_id, TRIAL_WILL_END, f"{thing['id']}:{ends}", trial_ends_at=time_of(ends))
    if kind == "customer.subscription.deleted" and _counts(tenant_id, thing["id"]):
        ended_at = thing.get("ended_at") or payload["created"]
        return tell(tenant_id, CANCELED, thing["id"], ended_at=time_of(ended_at))
    return False


def _counts(tenant_id: UUID, subscription_id: str, status: str | None = None) -> bool:
    """Whether this is the tenant's subscription, and still in this status: not one that another has replaced, such as a
    trial by a paid plan."""
    row = Subscription.of_tenant(tenant_id)
    return row is None or (row.stripe_subscription_id == subscription_id and status in (None, row.status))


def _is_owed(invoice_id: str) -> bool:
    """Whether an invoice waits for money, as far as we know: events come in any order, and its payment may have come first."""
    return (
        not Invoice.select()
        .where((Invoice.stripe_invoice_id == invoice_id) & Invoice.status.in_([PAID, VOID]))
        .exists()
    )


def _of_invoice(invoice: Mapping[str, Any]) -> dict[str, Any]:
    section = invoice_section(invoice)
    known = ("invoice_id", "amount_due_cents", "currency", "hosted_invoice_url")
    more = {"number": invoice.get("number"), "next_attempt_at": time_of(invoice.get("next_payment_attempt"))}
    return {name: section[name] for name in known} | more


def recipients(settings: TenantSettings) -> list[str]:
    """Whom a notice is mailed to: the contacts who want it; else the address of the subscription; else the owners."""
    if addresses := settings.to_notify():
        return addresses
    subscription = Subscription.of_tenant(settings.tenant_id)
    if subscription and subscription.billing_email:
        return [subscription.billing_email]
    return [row[0] for row in database.execute_sql(OWNERS, {"tenant_id": settings.tenant_id}).fetchall()]


def untold(limit: int) -> list[Notice]:
    """Notices that nobody was told yet, the oldest first, locked; those that another worker has locked are left out."""
    query = Notice.select().where(Notice.told_at.is_null()).order_by(Notice.id).limit(limit)
    return list(query.for_update(skip_locked=True))


def purge(days: int) -> int:
    """Delete notices, with their deliveries, and tests of webhooks, older than `days` days. Returns how many, at most."""
    statements = [PURGE.format(table=table) for table in ("billing_notice", "billing_delivery")]
    return sum(database.execute_sql(statement, {"days": days}).rowcount for statement in statements)
