"""Mails about a tenant's billing: one of models.billing.notices, to one address."""

from datetime import datetime
from typing import Any

from models.auth.tenants import Tenant
from models.billing.notices import DELIVERED, GIVEN_UP, PENDING, Delivery, Notice
from models.platform.clock import minute_text
from models.platform.database import transaction
from models.platform.ids import parse_uuid
from workers import metrics
from workers.jobs import MAIL_BILLING, MAIL_BILLING_TEST
from workers.mail.send import send
from workers.runtime import Lease, actor

# Stripe's amounts are in the smallest unit, which is a hundredth but for these currencies.
WHOLE = ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
THOUSANDTHS = ["bhd", "jod", "kwd", "omr", "tnd"]


@actor(MAIL_BILLING)
def mail_billing(lease: Lease) -> None:
    """A notice to one address; nothing if it has been told there already. `billing_<kind>` is the template."""
    delivery = Delivery.get_or_none(Delivery.id == parse_uuid(lease.job.args["delivery_id"]))
    if delivery is None or delivery.state != PENDING:
        return
    notice = Notice.get_by_id(delivery.notice_id)
    values = _values(notice, Tenant.get_by_id(delivery.tenant_id).name)
    is_sent = send(lease, delivery.address, f"billing_{notice.kind}", **values)
    state, error = (DELIVERED, None) if is_sent else (GIVEN_UP, "Mail to this address is suppressed.")
    with transaction():
        lease.job.finish()
        delivery.end(state, error=error)
    metrics.notice_ended(delivery.channel, state)


@actor(MAIL_BILLING_TEST)
def mail_test(lease: Lease) -> None:
    """A test to one of the addresses that are told about a tenant's billing."""
    tenant = Tenant.get_or_none(Tenant.id == lease.job.tenant_id)
    if tenant is not None:
        send(lease, lease.job.args["to"], "billing_test", tenant=" ".join(tenant.name.split()))


def _values(notice: Notice, tenant: str) -> dict[str, Any]:
    values = dict(notice.details)
    for name in ("next_attempt_at", "trial_ends_at", "ended_at", "window_end"):
        if values.get(name):
            values[name] = minute_text(datetime.fromisoformat(values[name]))
    if "amount_due_cents" in values:
        values["amount"] = money(values["amount_due_cents"], values["currency"])
    return {**values, "tenant": " ".join(tenant.split())}


def money(amount: int, currency: str) -> str:
    """An amount in a currency's smallest unit, as people read it: 9900, usd -> 99.00 USD."""
    decimals = 0 if currency in WHOLE else 3 if currency in THOUSANDTHS else 2
    whole, rest = divmod(abs(amount), 10**decimals)
    digits = f"{whole:,}" + (f".{rest:0{decimals}}" if decimals else "")
    return f"{'-' if amount < 0 else ''}{digits} {currency.upper()}"
