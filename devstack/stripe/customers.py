"""Customers."""

from collections.abc import Iterator

from devstack.stripe import payment_methods
from devstack.stripe.errors import invalid
from devstack.stripe.form import Params
from devstack.stripe.shapes import Object, nulls
from devstack.stripe.store import new_id
from devstack.stripe.world import World

_TEXTS = "business_name description email individual_name name phone"
FIELDS = f"{_TEXTS} address balance invoice_settings metadata preferred_locales tax_exempt"
_ADDRESS = "city country line1 line2 postal_code state"


def create(world: World, params: Params) -> Object:
    clock = params.text("test_clock")
    if clock:
        world.get("test_helpers.test_clock", clock, "test_clock")
    customer: Object = {
        "id": new_id("cus_", 14),
        "object": "customer",
        **nulls("address currency default_source description email name phone shipping"),
        "balance": 0,
        "created": world.now(clock),
        "delinquent": False,
        "discount": None,
        "invoice_prefix": new_id("").upper()[:8],
        "invoice_settings": nulls("custom_fields default_payment_method footer rendering_options"),
        "livemode": False,
        "metadata": {},
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "tax_exempt": "none",
        "test_clock": clock,
    }
    _apply(customer, params)
    world.add(customer, "customer.created")
    if method := params.text("payment_method"):
        attached = payment_methods.attach_to(world, method, customer, "payment_method")
        if params.below("invoice_settings").text("default_payment_method") in (method, attached["id"]):
            customer["invoice_settings"]["default_payment_method"] = attached["id"]
            world.put(customer)
    elif params.below("invoice_settings").text("default_payment_method"):
        _set_default(world, customer, params)
        world.put(customer)
    return customer


def update(world: World, params: Params, id_: str) -> Object:
    customer = world.get("customer", id_)
    _apply(customer, params)
    _set_default(world, customer, params)
    return world.save(customer, "customer.updated")


def _apply(customer: Object, params: Params) -> None:
    for name in _TEXTS.split():
        if name in params:
            customer[name] = params.text(name, longest=512)
    customer["metadata"] = params.metadata(customer["metadata"])
    email = customer["email"]
    if email and ("@" not in email or " " in email):
        raise invalid(f"Invalid email address: {email}", "email", "email_invalid")
    if "balance" in params:
        customer["balance"] = params.number("balance", 0)
    if "address" in params:
        address = params.below("address")
        address.only(_ADDRESS.split())
        customer["address"] = nulls(_ADDRESS) | {name: address.text(name) for name in address.form}
    if "preferred_locales" in params:
        customer["preferred_locales"] = params.texts("preferred_locales")
    if "tax_exempt" in params:
        customer["tax_exempt"] = params.choice("tax_exempt", "exempt none reverse", "none")


def _set_default(world: World, customer: Object, params: Params) -> None:
    settings = params.below("invoice_settings")
    settings.only(("default_payment_method",))
    if "default_payment_method" not in settings:
        return
    id_ = settings.text("default_payment_method")
    if id_:
        payment_methods.of_customer(world, id_, customer, settings.name("default_payment_method"))
    customer["invoice_settings"]["default_payment_method"] = id_


def retrieve(world: World, params: Params, id_: str) -> Object:
    stored = world.store.get(id_)
    if stored and stored["object"] == "customer" and stored.get("deleted"):
        return stored
    return world.get("customer", id_)


def customers(world: World, params: Params) -> Iterator[Object]:
    email, clock = params.text("email"), params.text("test_clock")
    found = world.listing(params, "customer", tags=[email] if email else None)
    return (item for item in found if item["test_clock"] == clock or (email and not clock))


def delete(world: World, params: Params, id_: str) -> Object:
    """Delete a customer: its live subscriptions end at once."""
    from devstack.stripe import ending

    customer = world.get("customer", id_)
    for subscription in list(world.store.find("subscription", customer=id_, tags=ending.ENDABLE)):
        ending.end(world, subscription)
    return world.delete(customer, "customer.deleted")
