"""Payment methods: cards only."""

from collections.abc import Iterator

from devstack.stripe import cards
from devstack.stripe.errors import invalid, missing, no_such
from devstack.stripe.form import Params
from devstack.stripe.shapes import NAMES, Object, nulls
from devstack.stripe.store import new_id
from devstack.stripe.world import World

_NAME = NAMES["payment_method"]


def create(world: World, params: Params) -> Object:
    if params.choice("type", "card") is None:
        raise missing("type")
    card = params.below("card")
    name = card.text("token") or card.text("number") or ""
    key = cards.named(name)
    if key is None:
        raise invalid("Your card number is incorrect.", "card[number]", "incorrect_number")
    details = params.below("billing_details")
    method = _new(world, key)
    method["billing_details"] |= {
        field: details.text(field) for field in ("email", "name", "phone") if field in details
    }
    method["metadata"] = params.metadata()
    return world.add(method)


def _new(world: World, key: str) -> Object:
    card = cards.CARDS[key]
    return {
        "id": new_id("pm_1"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": nulls("city country line1 line2 postal_code state"),
            **nulls("email name phone tax_id"),
        },
        "card": {
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "display_brand": card.brand,
            "exp_month": 12,
            "exp_year": 2040,
            "fingerprint": f"standin{card.last4}",
            "funding": "credit",
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": world.now(),
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
        "_card": key,
    }


def find(world: World, id_: str, param: str) -> Object:
    """A payment method by its id. One of Stripe's test ids makes a new one."""
    key = cards.named(id_) if id_.startswith("pm_card_") else None
    return _new(world, key) if key else world.get("payment_method", id_, param)


def of_customer(world: World, id_: str, customer: Object, param: str) -> Object:
    """A payment method that this customer can pay with. ApiError if it is not attached to it."""
    stored = world.store.get(id_)
    if stored is None or stored["object"] != "payment_method":
        raise no_such(_NAME, id_, param)
    if stored["customer"] != customer["id"]:
        raise invalid(
            f"The customer does not have a payment method with the ID {id_}. The payment method must be attached to the customer.",
            param,
            "resource_missing",
        )
    return stored


def attach_to(world: World, id_: str, customer: Object, param: str = "payment_method") -> Object:
    """Attach a payment method to a customer. ApiError if the card is refused, or belongs to another customer."""
    method = find(world, id_, param)
    if method["customer"] not in (None, customer["id"]):
        raise invalid(
            "The payment method you provided has already been attached to a customer.",
            param,
            "payment_method_unexpected_state",
        )
    card = cards.CARDS[method["_card"]]
    if not card.attaches:
        raise cards.error(str(card.refuses), card.decline)
    if method["customer"] is None:
        method["customer"] = customer["id"]
        world.add(method, "payment_method.attached")
    return method


def attach(world: World, params: Params, id_: str) -> Object:
    customer = world.get("customer", params.required("customer"), "customer")
    return attach_to(world, id_, customer)


def detach(world: World, params: Params, id_: str) -> Object:
    method = world.get("payment_method", id_)
    if method["customer"] is None:
        raise invalid(
            "The payment method you provided is not attached to a customer so detachment is impossible.",
            "payment_method",
        )
    customer = world.get("customer", method["customer"])
    if customer["invoice_settings"]["default_payment_method"] == id_:
        customer["invoice_settings"]["default_payment_method"] = None
        world.save(customer, "customer.updated")
    method["customer"] = None
    world.save(method, "payment_method.detached")
    return method


def update(world: World, params: Params, id_: str) -> Object:
    method = world.get("payment_method", id_)
    method["metadata"] = params.metadata(method["metadata"])
    return world.save(method, "payment_method.updated")


def retrieve(world: World, params: Params, id_: str) -> Object:
    return world.get("payment_method", id_)


def retrieve_of(world: World, params: Params, customer: str, id_: str) -> Object:
    method = world.get("payment_method", id_)
    if method["customer"] != customer:
        raise no_such(_NAME, id_, "id")
    return method


def of(world: World, params: Params) -> Iterator[Object]:
    if "customer" not in params:
        raise missing("customer")
    return of_path(world, params, params.required("customer"), "customer")


def of_path(world: World, params: Params, customer: str, param: str = "id") -> Iterator[Object]:
    """Those of a customer."""
    world.get("customer", customer, param)
    params.choice("type", "card")
    return world.listing(params, "payment_method", customer=customer)


def payer(world: World, customer: Object, *preferred: str | None) -> Object | None:
    """The payment method to charge: the first of the preferred ones that is still attached, else the customer's default."""
    for id_ in (*preferred, customer["invoice_settings"]["default_payment_method"]):
        stored = world.store.get(id_) if id_ else None
        if stored and stored["customer"] == customer["id"]:
            return stored
    return None
