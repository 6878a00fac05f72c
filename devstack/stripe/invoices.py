"""Invoices from draft to their end. Payments are in `payments`, what they mean for subscriptions in `standing`."""

from collections.abc import Iterator

from devstack.stripe import columns, discounts, lines, lists, payments, standing
from devstack.stripe.errors import invalid
from devstack.stripe.form import Params
from devstack.stripe.shapes import HOUR, Object, listed, nulls
from devstack.stripe.store import new_id
from devstack.stripe.world import World

FINALIZED_AFTER = HOUR
_NULLS = (
    "account_name account_tax_ids amount_paid_off_stripe application custom_fields customer_account customer_address"
    " customer_phone customer_shipping default_payment_method default_source description due_date effective_at"
    " ending_balance footer from_invoice hosted_invoice_url invoice_pdf last_finalization_error latest_revision"
    " next_payment_attempt number on_behalf_of receipt_number rendering shipping_cost shipping_details"
    " statement_descriptor threshold_reason webhooks_delivered_at status_details"
)


def draft(
    world: World,
    subscription: Object,
    reason: str,
    entries: list[Object],
    *,
    period: tuple[int, int] | None = None,
    proration_date: int | None = None,
) -> Object:
    """Write a draft with these lines. `reason` is its billing_reason. Discounts of the subscription are applied."""
    customer = world.get("customer", subscription["customer"])
    now = world.now(customer["test_clock"])
    details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
    if proration_date is not None:
        details["subscription_proration_date"] = proration_date
    invoice = _blank(customer, now) | {
        "billing_reason": reason,
        "currency": subscription["currency"],
        "discounts": list(subscription["discounts"]),
        "parent": {"quote_details": None, "subscription_details": details, "type": "subscription_details"},
    }
    invoice["period_start"], invoice["period_end"] = period or (now, now)
    if reason != "subscription_update" and customer.get("_pending"):
        entries = customer.pop("_pending") + entries
        world.put(customer)
    for entry in entries:
        entry["invoice"] = invoice["id"]
    url = f"/v1/invoices/{invoice['id']}/lines"
    invoice["lines"] = listed(entries, url) | {"total_count": len(entries)}
    discount(world, invoice)
    add_up(invoice)
    world.add(invoice, "invoice.created")
    subscription["latest_invoice"] = invoice["id"]
    return invoice


def _blank(customer: Object, now: int) -> Object:
    return {
        "id": new_id("in_1"),
        "object": "invoice",
        **nulls(_NULLS),
        "account_country": "US",
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"enabled": False, **nulls("disabled_reason liability provider status")},
        "automatically_finalizes_at": now + FINALIZED_AFTER,
        "collection_method": "charge_automatically",
        "created": now,
        "customer": customer["id"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "issuer": {"type": "self"},
        "livemode": False,
        "metadata": {},
        "payment_settings": nulls("default_mandate payment_method_options payment_method_types"),
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": customer["balance"],
        "status": "draft",
        "status_transitions": nulls("finalized_at marked_uncollectible_at paid_at voided_at"),
        "test_clock": customer["test_clock"],
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
    }


def discount(world: World, invoice: Object) -> None:
    """Apply the discounts, anew if they have been before."""
    entries = invoice["lines"]["data"]
    for entry in entries:
        entry["discount_amounts"] = []
    invoice["total_discount_amounts"] = discounts.apply(world, entries, invoice)


def add_up(invoice: Object) -> None:
    """Set the sums. The customer's balance, a negative one is a credit, is added when the invoice is finalized."""
    entries = invoice["lines"]["data"]
    invoice["subtotal"] = invoice["subtotal_excluding_tax"] = sum(entry["amount"] for entry in entries)
    off = sum(entry["amount"] for entry in invoice["total_discount_amounts"])
    invoice["total"] = invoice["total_excluding_tax"] = invoice["subtotal"] - off
    invoice["amount_due"] = max(invoice["total"] + invoice["starting_balance"], 0)
    invoice["amount_remaining"] = invoice["amount_due"] - invoice["amount_paid"]


def finalize(world: World, invoice: Object) -> Object:
    """Number it, and ask for the money if any is due. Use that was reported since it was drafted is on it."""
    customer = world.get("customer", invoice["customer"])
    now = world.now(customer["test_clock"])
    _count_use(world, invoice)
    discount(world, invoice)
    invoice["starting_balance"] = customer["balance"]
    add_up(invoice)
    balance, number = min(invoice["total"] + customer["balance"], 0), customer["next_invoice_sequence"]
    world.put(customer | {"next_invoice_sequence": number + 1})
    world.save(customer | {"next_invoice_sequence": number + 1, "balance": balance}, "customer.updated")
    page = f"{world.url}/invoices/{invoice['id']}"
    invoice |= {
        "automatically_finalizes_at": None,
        "effective_at": now,
        "ending_balance": balance,
        "hosted_invoice_url": page,
        "invoice_pdf": f"{page}/pdf",
        "number": f"{customer['invoice_prefix']}-{number:04}",
        "status": "open",
    }
    invoice["status_transitions"]["finalized_at"] = now
    if invoice["amount_due"]:
        payments.ask(world, invoice)
    world.put(invoice)
    world.record("invoice.finalized", invoice)
    if not invoice["amount_due"]:
        settle(world, invoice)
    return invoice


def _count_use(world: World, invoice: Object) -> None:
    """Count again what was used in the periods of the metered lines."""
    for entry in invoice["lines"]["data"]:
        details = entry["parent"]["subscription_item_details"]
        price = world.get("price", entry["pricing"]["price_details"]["price"])
        if not lines.metered(price) or details["proration"]:
            continue
        item = {"id": details["subscription_item"], "price": price["id"], "subscription": details["subscription"]}
        fresh = lines.used(world, item, invoice["customer"], entry["period"]["start"], entry["period"]["end"])
        entry |= {name: fresh[name] for name in ("amount", "subtotal", "quantity", "quantity_decimal", "description")}


def settle(world: World, invoice: Object, *, elsewhere: bool = False) -> None:
    """The invoice is paid: by a payment, by nothing being due, or outside Stripe."""
    now = world.now(invoice["test_clock"])
    invoice |= {
        "amount_paid": 0 if elsewhere else invoice["amount_due"],
        "amount_remaining": 0,
        "attempted": True,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status": "paid",
    }
    invoice["status_transitions"]["paid_at"] = now
    world.save(invoice, "invoice.updated")
    world.record("invoice.paid", invoice)
    world.record("invoice.payment_succeeded", invoice)
    standing.paid(world, invoice)


def void(world: World, invoice: Object) -> None:
    invoice |= {"auto_advance": False, "next_payment_attempt": None, "status": "void", "amount_remaining": 0}
    invoice["status_transitions"]["voided_at"] = world.now(invoice["test_clock"])
    payments.give_up(world, invoice)
    world.put(invoice)
    world.record("invoice.voided", invoice)


def retrieve(world: World, params: Params, id_: str) -> Object:
    return world.get("invoice", id_)


def update(world: World, params: Params, id_: str) -> Object:
    invoice = world.get("invoice", id_)
    invoice["metadata"] = params.metadata(invoice["metadata"])
    invoice["auto_advance"] = params.flag("auto_advance", invoice["auto_advance"])
    if "description" in params:
        invoice["description"] = params.text("description")
    return world.save(invoice, "invoice.updated")


def invoices(world: World, params: Params) -> Iterator[Object]:
    subscription, status = params.text("subscription"), params.choice("status", "draft open paid uncollectible void")
    found = world.listing(
        params, "invoice", customer=params.text("customer"), tags=[subscription] if subscription else None
    )
    return (invoice for invoice in found if status in (None, invoice["status"]))


def lines_of(world: World, params: Params, id_: str) -> Iterator[Object]:
    return lists.part(params, world.get("invoice", id_)["lines"]["data"])


def finalize_now(world: World, params: Params, id_: str) -> Object:
    invoice = world.get("invoice", id_)
    if invoice["status"] != "draft":
        raise invalid(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.", code="invoice_not_editable"
        )
    return finalize(world, invoice)


def pay(world: World, params: Params, id_: str) -> Object:
    """Pay now. A refused card is a 402, and the attempt counts."""
    invoice = world.get("invoice", id_)
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] == "draft":
        finalize(world, invoice)
    if invoice["status"] not in ("open", "uncollectible"):
        raise invalid(f"You can only pay an open invoice; this one is {invoice['status']}.", code="invoice_not_open")
    if params.flag("paid_out_of_band"):
        settle(world, invoice, elsewhere=True)
    else:
        payments.collect(world, invoice, params.text("payment_method"), off_session=params.flag("off_session", True))
    return world.get("invoice", id_)


def void_now(world: World, params: Params, id_: str) -> Object:
    invoice = world.get("invoice", id_)
    if invoice["status"] not in ("open", "uncollectible"):
        raise invalid("You can only void an open or uncollectible invoice.", code="invoice_not_open")
    void(world, invoice)
    standing.voided(world, invoice)
    return invoice


def mark_uncollectible(world: World, params: Params, id_: str) -> Object:
    invoice = world.get("invoice", id_)
    if invoice["status"] != "open":
        raise invalid("You can only mark an open invoice uncollectible.", code="invoice_not_open")
    invoice |= {"auto_advance": False, "next_payment_attempt": None, "status": "uncollectible"}
    invoice["status_transitions"]["marked_uncollectible_at"] = world.now(invoice["test_clock"])
    world.put(invoice)
    world.record("invoice.marked_uncollectible", invoice)
    return invoice


def stop_collecting(world: World, subscription: Object) -> None:
    """The subscription has ended: its open invoices stay, but nobody tries to collect them."""
    for invoice in list(world.store.find("invoice", tags=[subscription["id"]])):
        if columns.due(invoice) is not None:
            invoice |= {"auto_advance": False, "next_payment_attempt": None}
            world.save(invoice, "invoice.updated")
