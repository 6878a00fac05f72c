"""Events, and the webhook endpoints that are told of them."""

from collections.abc import Iterator

from devstack.stripe.errors import invalid, malformed
from devstack.stripe.form import Params
from devstack.stripe.shapes import API_VERSION, Object
from devstack.stripe.store import new_id
from devstack.stripe.world import World

OURS = "we_standin_environment"  # the endpoint that the environment names
FIELDS = "url enabled_events description metadata disabled"


def retrieve_event(world: World, params: Params, id_: str) -> Object:
    return world.get("event", id_)


def events(world: World, params: Params) -> Iterator[Object]:
    """Of one type, of several, or of a family such as invoice.*"""
    types, one = params.texts("types"), params.text("type")
    if one and types:
        raise malformed("You may only specify one of these parameters: type, types.", "types")
    if one and one.endswith("*"):
        return (event for event in world.listing(params, "event") if event["type"].startswith(one[:-1]))
    return world.listing(params, "event", tags=types or ([one] if one else None))


def create(world: World, params: Params) -> Object:
    secret = new_id("whsec_", 32)
    endpoint: Object = {
        "id": new_id("we_1"),
        "object": "webhook_endpoint",
        "api_version": API_VERSION,
        "application": None,
        "created": world.now(),
        "description": params.text("description"),
        "enabled_events": params.texts("enabled_events"),
        "livemode": False,
        "metadata": params.metadata(),
        "status": "enabled",
        "url": _url(params.required("url")),
        "_secrets": [secret],
    }
    if not endpoint["enabled_events"]:
        raise malformed("Missing required param: enabled_events.", "enabled_events", "parameter_missing")
    world.put(endpoint)
    return endpoint | {"secret": secret}  # shown this once


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise invalid("Invalid URL: An explicit scheme (such as https) must be provided.", "url", "url_invalid")
    return text


def update(world: World, params: Params, id_: str) -> Object:
    endpoint = world.get("webhook_endpoint", id_)
    endpoint["enabled_events"] = params.texts("enabled_events") or endpoint["enabled_events"]
    endpoint["url"] = _url(params.text("url") or endpoint["url"])
    endpoint["description"] = params.text("description", endpoint["description"])
    endpoint["metadata"] = params.metadata(endpoint["metadata"])
    if "disabled" in params:
        endpoint["status"] = "disabled" if params.flag("disabled") else "enabled"
    world.put(endpoint)
    return endpoint


def retrieve(world: World, params: Params, id_: str) -> Object:
    return world.get("webhook_endpoint", id_)


def delete(world: World, params: Params, id_: str) -> Object:
    world.get("webhook_endpoint", id_)
    stub = {"id": id_, "object": "webhook_endpoint", "deleted": True}
    world.put(stub)
    return stub


def endpoints(world: World, params: Params) -> Iterator[Object]:
    return world.listing(params, "webhook_endpoint")


def register(world: World, url: str, secrets: list[str]) -> None:
    """Add or change the endpoint that the environment names."""
    world.put(
        {
            "id": OURS,
            "object": "webhook_endpoint",
            "api_version": API_VERSION,
            "application": None,
            "created": world.now(),
            "description": "From the environment.",
            "enabled_events": ["*"],
            "livemode": False,
            "metadata": {},
            "status": "enabled",
            "url": url,
            "_secrets": secrets,
        }
    )
