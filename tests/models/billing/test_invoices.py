"""Invoices are what Stripe last said of each."""

import pytest

from tests.models.billing.test_stripe_sync import apply, said
from tests.support import stripe_objects
from tests.support.stripe_objects import END, START


def told(tenant, verb="paid", at=0, event_id="evt_i", lines=(), **more):
    thing = stripe_objects.invoice(*lines, created=START, **more)
    thing["metadata"] = {"tenant_id": str(tenant.id)} if tenant else {}
    return stripe_objects.event(f"invoice.{verb}", thing, event_id, START + at)


def invoices():
    from models.billing.invoices import Invoice

    return list(Invoice.select().order_by(Invoice.stripe_invoice_id))


def test_an_invoice_is_kept_with_its_amounts_and_metered_lines(tenant, prices):
    seat = stripe_objects.line(stripe_objects.SEAT_PRICE, 5, 9900)
    transitions = {"finalized_at": START + 60}
    url = "https://invoice.stripe.com/" + "i" * 2000
    more = {"number": "A-1", "total": 10_500, "amount_due": 0, "status_transitions": transitions}
    apply(told(tenant, lines=[seat, stripe_objects.line()], hosted_invoice_url=url, **more))
    (row,) = invoices()
    assert (row.tenant_id, row.stripe_subscription_id, row.number) == (tenant.id, "sub_1", "A-1")
    assert (row.status, row.currency, row.billing_reason) == ("paid", "USD", "subscription_cycle")
    assert (row.total_cents, row.amount_due_cents, row.amount_paid_cents) == (10_500, 0, 9900)
    assert (row.period_end.timestamp(), row.issued_at.timestamp()) == (END, START + 60)
    assert row.hosted_invoice_url == url
    assert [(line["feature_key"], line["quantity"], line["amount_cents"]) for line in row.lines] == [
        ("messages", 300, 600)
    ]


def test_within_a_second_an_invoice_moves_on_and_never_back(tenant, prices):
    finalized, paid = told(tenant, "finalized", event_id="evt_z", status="open"), told(tenant, event_id="evt_a")
    for order in ((finalized, paid), (paid, finalized)):
        apply(*order)
        assert [row.status for row in invoices()] == ["paid"]


def test_two_invoices_of_one_period_are_two_rows(tenant, prices):
    apply(told(tenant, id="in_1"), told(tenant, id="in_2"))
    assert len(invoices()) == 2


def test_a_refund_may_be_negative_and_a_sum_large(tenant, prices):
    apply(told(tenant, total=-5_000_000_000, amount_due=0))
    assert invoices()[0].total_cents == -5_000_000_000


@pytest.mark.parametrize("more", [{"status": "draft"}, {"id": None, "status": None}])
def test_what_nobody_owes_yet_is_not_kept(tenant, prices, more):
    assert apply(told(tenant, "upcoming", **more)) == tenant.id
    assert invoices() == []


def test_whose_invoice_it_is_is_found_in_three_places(tenant, prices):
    from models.billing.stripe_tenants import TenantUnknown

    with pytest.raises(TenantUnknown):
        apply(told(None))
    details = {"subscription": "sub_unknown", "metadata": {"tenant_id": str(tenant.id)}}
    nested = {"type": "subscription_details", "subscription_details": details}
    apply(told(None, id="in_nested", parent=nested))
    apply(said(tenant))
    apply(told(None, id="in_by_subscription"))
    customer = {"id": "cus_1", "object": "customer", "email": None, "metadata": {"tenant_id": str(tenant.id)}}
    apply(stripe_objects.event("customer.created", customer, "evt_c"))
    apply(told(None, id="in_by_customer", parent=None))
    assert {row.tenant_id for row in invoices()} == {tenant.id} and len(invoices()) == 3


def test_an_invoice_cannot_change_its_tenant(tenant, prices):
    from models.auth.tenants import Tenant
    from models.billing.invoices import InvoiceOfOther

    apply(told(tenant))
    with pytest.raises(InvoiceOfOther):
        apply(told(Tenant.create(slug="other", name="Other"), at=5, event_id="evt_o"))
    assert invoices()[0].tenant_id == tenant.id
