"""Sessions and configurations of the customer portal. Its page is in `pages`."""

from collections.abc import Iterator

from devstack.stripe.errors import missing
from devstack.stripe.form import Params
from devstack.stripe.shapes import Object, nulls
from devstack.stripe.store import new_id
from devstack.stripe.world import World

SESSION_FIELDS = "customer return_url configuration flow_data locale"
CONFIGURATION_FIELDS = "business_profile default_return_url features metadata active name"
_KIND = "billing_portal.configuration"
_REASONS = "too_expensive missing_features switched_service unused other"


def create_configuration(world: World, params: Params) -> Object:
    if "features" not in params:
        raise missing("features")
    return world.add(_configuration(world, params), f"{_KIND}.created")


def _configuration(world: World, params: Params, *, default: bool = False) -> Object:
    features, profile = params.below("features"), params.below("business_profile")
    cancel, update = features.below("subscription_cancel"), features.below("subscription_update")
    now = world.now()
    return {
        "id": new_id("bpc_1"),
        "object": _KIND,
        "active": True,
        "application": None,
        "business_profile": {
            name: profile.text(name) for name in ("headline", "privacy_policy_url", "terms_of_service_url")
        },
        "created": now,
        "default_return_url": params.text("default_return_url"),
        "features": {
            "customer_update": {"allowed_updates": [], "enabled": features.below("customer_update").flag("enabled")},
            "invoice_history": {"enabled": features.below("invoice_history").flag("enabled", default)},
            "payment_method_update": {
                "enabled": features.below("payment_method_update").flag("enabled", default),
                "payment_method_configuration": None,
            },
            "subscription_cancel": {
                "cancellation_reason": {"enabled": False, "options": _REASONS.split()},
                "enabled": cancel.flag("enabled", default),
                "mode": cancel.choice("mode", "at_period_end immediately", "at_period_end"),
                "proration_behavior": cancel.choice(
                    "proration_behavior", "always_invoice create_prorations none", "none"
                ),
            },
            "subscription_pause": {"duration": {"interval_options": [], "type": "indefinite"}, "enabled": False},
            "subscription_update": {
                "billing_cycle_anchor": None,
                "default_allowed_updates": update.texts("default_allowed_updates"),
                "enabled": update.flag("enabled"),
                "products": [],
                "proration_behavior": update.choice(
                    "proration_behavior", "always_invoice create_prorations none", "none"
                ),
                "schedule_at_period_end": {"conditions": []},
                "trial_update_behavior": "end_trial",
            },
        },
        "is_default": default,
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": params.metadata(),
        "name": params.text("name"),
        "updated": now,
    }


def retrieve_configuration(world: World, params: Params, id_: str) -> Object:
    return world.get(_KIND, id_)


def update_configuration(world: World, params: Params, id_: str) -> Object:
    before = world.get(_KIND, id_)
    after = _configuration(world, params, default=before["is_default"])
    kept = {name: before[name] for name in ("id", "created", "is_default")}
    if "features" not in params:
        kept["features"] = before["features"]
    kept["active"] = params.flag("active", before["active"])
    kept["metadata"] = params.metadata(before["metadata"])
    return world.save(after | kept, f"{_KIND}.updated")


def configurations(world: World, params: Params) -> Iterator[Object]:
    default = params.flag("is_default") if "is_default" in params else None
    active = params.flag("active") if "active" in params else None
    return (
        item
        for item in world.listing(params, _KIND)
        if default in (None, item["is_default"]) and active in (None, item["active"])
    )


def _default(world: World) -> Object:
    """The account's default configuration, which allows what the page can do."""
    for item in world.store.find(_KIND):
        if item["is_default"]:
            return item
    return world.add(_configuration(world, Params(), default=True))


def create_session(world: World, params: Params) -> Object:
    customer = world.get("customer", params.required("customer"), "customer")
    chosen = params.text("configuration")
    configuration = world.get(_KIND, chosen, "configuration") if chosen else _default(world)
    id_ = new_id("bps_1")
    session = {
        "id": id_,
        "object": "billing_portal.session",
        "configuration": configuration["id"],
        "created": world.now(),
        "customer": customer["id"],
        "customer_account": None,
        "flow": _flow(world, params.below("flow_data")),
        "livemode": False,
        "locale": params.text("locale"),
        "on_behalf_of": None,
        "return_url": params.text("return_url") or configuration["default_return_url"],
        "url": f"{world.url}/portal/{id_}",
    }
    return world.add(session, "billing_portal.session.created")


def _flow(world: World, params: Params) -> Object | None:
    if not params.form:
        return None
    kind = params.choice("type", "payment_method_update subscription_cancel")
    if kind is None:
        raise missing("flow_data[type]")
    after = params.below("after_completion")
    redirect = after.below("redirect").text("return_url")
    flow: Object = {
        "after_completion": {
            "hosted_confirmation": None,
            "redirect": {"return_url": redirect} if redirect else None,
            "type": "redirect" if redirect else "portal_homepage",
        },
        **nulls("subscription_cancel subscription_update subscription_update_confirm"),
        "type": kind,
    }
    if kind == "subscription_cancel":
        id_ = params.below("subscription_cancel").required("subscription")
        world.get("subscription", id_, "flow_data[subscription_cancel][subscription]")
        flow["subscription_cancel"] = {"retention": None, "subscription": id_}
    return flow
