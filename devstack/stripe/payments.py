"""Payment intents, as far as invoices need them, and attempts to collect an invoice."""

from collections.abc import Iterator

from devstack.stripe import cards, invoices, payment_methods, standing
from devstack.stripe.errors import ApiError, invalid
from devstack.stripe.form import Params
from devstack.stripe.shapes import Object, nulls
from devstack.stripe.store import new_id
from devstack.stripe.world import World

_NULLS = (
    "application application_fee_amount automatic_payment_methods canceled_at cancellation_reason customer_account"
    " excluded_payment_method_types last_payment_error latest_charge next_action on_behalf_of payment_method"
    " payment_method_configuration_details processing receipt_email review setup_future_usage shipping source"
    " statement_descriptor statement_descriptor_suffix transfer_data transfer_group"
)


def ask(world: World, invoice: Object) -> None:
    """Make the payment intent of an invoice that is being finalized."""
    id_ = new_id("pi_3")
    now = world.now(invoice["test_clock"])
    intent = {
        "id": id_,
        "object": "payment_intent",
        **nulls(_NULLS),
        "amount": invoice["amount_due"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "capture_method": "automatic",
        "client_secret": f"{id_}_secret_{new_id('', 25)}",
        "confirmation_method": "automatic",
        "created": now,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": "Subscription update"
        if invoice["billing_reason"] == "subscription_update"
        else "Subscription creation",
        "livemode": False,
        "metadata": {},
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
        "_invoice": invoice["id"],
    }
    world.add(intent, "payment_intent.created")
    invoice["_intent"] = id_
    world.put(
        {
            "id": new_id("inpay_1"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_due"],
            "created": now,
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": id_, "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )


def of_invoice(world: World, invoice: str) -> list[Object]:
    """The payments of an invoice: [invoice_payment]."""
    return list(world.store.find("invoice_payment", tags=[invoice]))


def _close(world: World, invoice: Object, status: str) -> None:
    for payment in of_invoice(world, invoice["id"]):
        now = world.now(invoice["test_clock"])
        payment["status"] = status
        if status == "paid":
            payment["amount_paid"], payment["status_transitions"]["paid_at"] = invoice["amount_due"], now
        else:
            payment["status_transitions"]["canceled_at"] = now
        world.put(payment)
        if status == "paid":
            world.record("invoice_payment.paid", payment)


def give_up(world: World, invoice: Object) -> None:
    """The invoice is void: nobody can pay it any more."""
    if not invoice.get("_intent"):
        return
    intent = world.get("payment_intent", invoice["_intent"])
    intent |= {
        "status": "canceled",
        "canceled_at": world.now(invoice["test_clock"]),
        "cancellation_reason": "void_invoice",
    }
    world.put(intent)
    world.record("payment_intent.canceled", intent)
    _close(world, invoice, "canceled")


def no_method() -> ApiError:
    return invalid(
        "This customer has no attached payment source or default payment method. Please consider adding a default payment method. For more information, visit https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.",
        code="resource_missing",
    )


def payer(world: World, invoice: Object, preferred: str | None = None) -> Object | None:
    """The payment method that an invoice is charged to."""
    customer = world.get("customer", invoice["customer"])
    subscription = standing.subscription_of(world, invoice)
    own = subscription["default_payment_method"] if subscription else None
    return payment_methods.payer(world, customer, preferred, own)


def collect(world: World, invoice: Object, preferred: str | None = None, *, off_session: bool = True) -> None:
    """Try to collect an open invoice. The ApiError of the card if it is refused; then the attempt is counted."""
    customer = world.get("customer", invoice["customer"])
    if preferred:
        preferred = payment_methods.attach_to(world, preferred, customer)["id"]
    method = payer(world, invoice, preferred)
    if method is None:
        raise no_method()
    charge(world, invoice, method, off_session=off_session)


def charge(world: World, invoice: Object, method: Object, *, off_session: bool, confirmed: bool = False) -> None:
    """Charge an open invoice to a payment method. The ApiError of the card if it is refused."""
    customer = world.get("customer", invoice["customer"])
    if not invoice.get("_intent"):  # nothing is due
        invoices.settle(world, invoice)
        return
    intent = world.get("payment_intent", invoice["_intent"])
    first = invoice["billing_reason"] == "subscription_create"
    refusal = cards.refusal(method, customer, first, confirmed)
    invoice["attempt_count"] += 1
    invoice["attempted"] = True
    if refusal is None:
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "payment_method": method["id"],
            "last_payment_error": None,
            "next_action": None,
        }
        world.put(intent)
        world.record("payment_intent.succeeded", intent)
        _close(world, invoice, "paid")
        invoices.settle(world, invoice)
        return
    error = _refuse(world, intent, method, *refusal, off_session=off_session)
    standing.unpaid(world, invoice, action=intent["status"] == "requires_action")
    raise error


def _refuse(
    world: World, intent: Object, method: Object, code: str, decline: str | None, *, off_session: bool
) -> ApiError:
    shown = {name: value for name, value in method.items() if not name.startswith("_")}
    error = cards.error(code, decline)
    details = error.body()["error"] | {"payment_method": shown}
    if code == "authentication_required" and not off_session:
        intent |= {
            "status": "requires_action",
            "payment_method": method["id"],
            "next_action": {"type": "use_stripe_sdk", "use_stripe_sdk": {}},
        }
    else:
        intent |= {"status": "requires_payment_method", "last_payment_error": details}
    world.put(intent)
    needs_action = intent["status"] == "requires_action"
    world.record("payment_intent.requires_action" if needs_action else "payment_intent.payment_failed", intent)
    outside = {name: value for name, value in intent.items() if not name.startswith("_")}
    return cards.error(code, decline, {"payment_intent": outside, "payment_method": shown})


def fail_without_method(world: World, invoice: Object) -> None:
    """An attempt of Stripe's own, and the customer has nothing to pay with."""
    invoice["attempt_count"] += 1
    invoice["attempted"] = True
    standing.unpaid(world, invoice, action=False)


def retrieve(world: World, params: Params, id_: str) -> Object:
    return world.get("payment_intent", id_)


def intents(world: World, params: Params) -> Iterator[Object]:
    return world.listing(params, "payment_intent", customer=params.text("customer"))


def invoice_payments(world: World, params: Params) -> Iterator[Object]:
    invoice = params.text("invoice")
    return world.listing(params, "invoice_payment", tags=[invoice] if invoice else None)


def retrieve_invoice_payment(world: World, params: Params, id_: str) -> Object:
    return world.get("invoice_payment", id_)


def confirm(world: World, params: Params, id_: str) -> Object:
    """The customer pays an invoice's payment intent, as Stripe's own form on a page does."""
    intent = world.get("payment_intent", id_)
    if intent["status"] in ("succeeded", "canceled"):
        raise invalid(
            f"You cannot confirm this PaymentIntent because it has already {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    invoice = world.get("invoice", intent["_invoice"])
    customer = world.get("customer", intent["customer"])
    if given := params.text("payment_method"):
        method: Object | None = payment_methods.attach_to(world, given, customer)
    else:
        method = payer(world, invoice, intent["payment_method"])
    if method is None:
        raise invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )
    charge(world, invoice, method, off_session=False, confirmed=intent["status"] == "requires_action")
    return world.get("payment_intent", id_)
