"""Invoices, as Stripe last said of each. They never feed quotas: usage was counted when it happened."""

from datetime import datetime
from typing import Any
from uuid import UUID

from peewee import SQL, BigIntegerField, CharField, SmallIntegerField, TextField

from models.billing import normal_form
from models.billing.stripe_order import Order, time_of, time_or_none
from models.billing.stripe_prices import known_prices
from models.billing.stripe_tenants import NotYet, Object, subscription_id, tenant_of
from models.platform.authorization import BILLING_READ
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.json import storable_value
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel

DRAFT, OPEN, UNCOLLECTIBLE, PAID, VOID = "draft", "open", "uncollectible", "paid", "void"
# An invoice only moves on in this order, often by several steps in one second. So that decides, not the event's type.
RANKS = {DRAFT: 0, OPEN: 1, UNCOLLECTIBLE: 2, PAID: 3, VOID: 3}
NEWER = (
    '(invoice.as_of, invoice.rank, invoice.event_id collate "C") < (excluded.as_of, excluded.rank, excluded.event_id)'
)


class Invoice(TenantModel):
    """`lines`: what it bills of metered features, as models.billing.normal_form.usage_lines has it."""

    owner, reading = None, BILLING_READ
    updated_at = DateTimeTZField(default=now)
    stripe_invoice_id = CharField(unique=True)
    stripe_subscription_id = CharField(null=True)
    number = CharField(null=True)
    status = CharField()
    billing_reason = CharField(null=True)
    collection_method = CharField(null=True)
    currency = CharField()
    total_cents = BigIntegerField()
    amount_due_cents = BigIntegerField()
    amount_paid_cents = BigIntegerField()
    period_start = DateTimeTZField(null=True)
    period_end = DateTimeTZField(null=True)
    issued_at = DateTimeTZField()
    hosted_invoice_url = TextField(null=True)
    pdf_url = TextField(null=True)
    lines: list[dict[str, Any]] = BinaryJSONField(default=list)
    as_of = DateTimeTZField()
    rank = SmallIntegerField()
    event_id = CharField()


class InvoiceOfOther(NotYet):
    """An invoice that another tenant has. A person has to look."""

    code = "wrong_tenant"


@in_transaction
def apply_invoice(thing: Object, order: Order) -> UUID:
    """Take over what Stripe says of an invoice, if it is news. Returns whose it is. TenantUnknown, InvoiceOfOther.

    A draft is not kept: it may still change in everything, and nobody owes it.
    """
    tenant_id = tenant_of(thing)
    if thing.get("id") is None or thing.get("status") in (None, DRAFT):
        return tenant_id
    known = Invoice.get_or_none(Invoice.stripe_invoice_id == thing["id"])
    if known is not None and known.tenant_id != tenant_id:
        raise InvoiceOfOther(f"Invoice {thing['id']} is of tenant {known.tenant_id}, but Stripe now says {tenant_id}.")
    columns = {
        "stripe_subscription_id": subscription_id(thing),
        "number": thing.get("number"),
        "status": thing["status"],
        "billing_reason": thing.get("billing_reason"),
        "collection_method": thing.get("collection_method"),
        "currency": str(thing["currency"]).upper(),
        "total_cents": thing["total"],
        "amount_due_cents": thing["amount_due"],
        "amount_paid_cents": thing.get("amount_paid") or 0,
        "period_start": time_or_none(thing.get("period_start")),
        "period_end": time_or_none(thing.get("period_end")),
        "issued_at": _issued_at(thing),
        "hosted_invoice_url": thing.get("hosted_invoice_url"),
        "pdf_url": thing.get("invoice_pdf"),
        "lines": storable_value(normal_form.usage_lines(thing, known_prices())),
        "updated_at": order.as_of,
        **order._replace(rank=RANKS.get(thing["status"], RANKS[OPEN]))._asdict(),
    }
    Invoice.insert(tenant_id=tenant_id, stripe_invoice_id=thing["id"], **columns).on_conflict(
        conflict_target=[Invoice.stripe_invoice_id], preserve=list(columns), where=SQL(NEWER)
    ).execute()
    return tenant_id


def _issued_at(thing: Object) -> datetime:
    transitions = thing.get("status_transitions") or {}
    return time_of(transitions.get("finalized_at") or thing.get("effective_at") or thing["created"])
