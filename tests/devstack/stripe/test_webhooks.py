"""Events and their delivery: signed, tried again, twice, shuffled, and never lost."""

import json
import time
from collections import Counter

import pytest
import stripe

from tests.devstack.stripe.conftest import Hooks, eventually


@pytest.fixture(autouse=True)
def as_usual(control, hooks):
    hooks.received.clear()
    yield
    hooks.refuse = 0
    control("webhooks", twice=0, shuffle=False, delay=0, fail_first=0, ordered=False)


def secret(part):
    return part.env()["STRIPE_WEBHOOK_SECRET"]


def idle(control):
    eventually(lambda: not control("state")["deliveries_waiting"])


def test_the_sdk_accepts_the_signature(part, api, hooks):
    product = api.products.create({"name": "Signed"})
    body, signature = eventually(lambda: hooks.received)[0]
    event = stripe.Webhook.construct_event(body, signature, secret(part))
    assert (event.type, event.data.object.id, event.api_version) == ("product.created", product.id, "2026-10-28.endive")
    assert event.created <= time.time() + 1
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body.replace(b"Signed", b"Forged"), signature, secret(part))


def test_during_a_rotation_both_secrets_sign(part, api, hooks, control):
    control("webhooks", secrets=["whsec_new", secret(part)])
    api.products.create({"name": "Rotated"})
    body, signature = eventually(lambda: hooks.received)[0]
    assert signature.count("v1=") == 2
    for each in ("whsec_new", secret(part)):
        assert stripe.Webhook.construct_event(body, signature, each)
    control("webhooks", secrets=[secret(part)])


def test_a_refused_event_comes_again(api, hooks, control):
    hooks.refuse = 2
    api.products.create({"name": "Refused"})
    eventually(lambda: len(hooks.received) == 3)
    assert len({json.loads(body)["id"] for body, _ in hooks.received}) == 1
    idle(control)
    last = control("deliveries")["deliveries"][-1]
    assert (last["state"], last["answer"], last["attempts"]) == ("delivered", "202", 3)


def test_events_come_twice_shuffled_and_late_but_all_come(api, hooks, control):
    control("webhooks", twice=1.0, shuffle=True, delay=0.2, fail_first=0.5)
    ids = [api.products.create({"name": f"{number}"}).id for number in range(20)]
    idle(control)
    seen = [json.loads(body)["data"]["object"]["id"] for body, _ in hooks.received]
    assert set(seen) == set(ids)
    assert list(dict.fromkeys(seen)) != ids, "they came in order"
    assert any(number > 1 for number in Counter(seen).values())


def test_in_order_on_request(api, hooks, control):
    control("webhooks", ordered=True)
    ids = [api.products.create({"name": f"{number}"}).id for number in range(20)]
    idle(control)
    assert [json.loads(body)["data"]["object"]["id"] for body, _ in hooks.received] == ids


def test_an_event_is_sent_once_more_on_request(api, hooks, control):
    api.products.create({"name": "Once more"})
    event = json.loads(eventually(lambda: hooks.received)[0][0])["id"]
    control("resend", event=event)
    eventually(lambda: len(hooks.received) == 2)
    assert {json.loads(body)["id"] for body, _ in hooks.received} == {event}


def test_an_update_tells_what_was_before_and_nothing_is_told_of_no_change(api, hooks, control):
    product = api.products.create({"name": "Before", "metadata": {"a": "1"}})
    api.products.update(product.id, {"name": "After", "metadata": {"a": "", "b": "2"}})
    events = api.events.list({"type": "product.updated", "limit": 1}).data
    previous = events[0].data.previous_attributes.to_dict()
    assert previous["name"] == "Before" and previous["metadata"] == {"a": "1", "b": None}
    price = api.prices.create({"product": product.id, "currency": "usd", "unit_amount": 1})
    api.prices.update(price.id, {"active": True})
    assert [event.data.object.id for event in api.events.list({"type": "price.updated"}).data] == []


def test_an_event_tells_which_request_caused_it(api):
    product = api.products.create({"name": "Asked"}, {"idempotency_key": "asked"})
    (event,) = api.events.list({"type": "product.created", "limit": 1}).data
    assert (event.data.object.id, event.request.idempotency_key) == (product.id, "asked")
    assert event.request.id == product.last_response.request_id


def test_an_endpoint_gets_only_what_it_wants_until_it_is_deleted(api, control):
    other = Hooks()
    endpoint = api.webhook_endpoints.create({"url": other.url, "enabled_events": ["price.created"]})
    product = api.products.create({"name": "Wanted"})
    api.prices.create({"product": product.id, "currency": "usd", "unit_amount": 1})
    body, signature = eventually(lambda: other.received)[0]
    assert stripe.Webhook.construct_event(body, signature, endpoint.secret).type == "price.created"
    idle(control)
    assert other.types() == ["price.created"]
    api.webhook_endpoints.delete(endpoint.id)
    api.prices.create({"product": product.id, "currency": "usd", "unit_amount": 2})
    idle(control)
    assert len(other.received) == 1
    other.shutdown()
    other.server_close()


def test_events_are_listed_by_type_family_and_time_in_pages(api):
    for number in range(12):
        api.products.create({"name": f"{number}"})
    newest = list(api.events.list({"types": ["product.created"], "limit": 5}).auto_paging_iter())
    assert len(newest) >= 12 and [event.created for event in newest] == sorted(
        (e.created for e in newest), reverse=True
    )
    assert {event.type for event in api.events.list({"type": "product.*"}).data} <= {
        "product.created",
        "product.updated",
    }
    page = api.events.list({"limit": 2})
    older = api.events.list({"limit": 2, "starting_after": page.data[-1].id})
    back = api.events.list({"limit": 2, "ending_before": older.data[0].id})
    assert [event.id for event in back.data] == [event.id for event in page.data]
    assert api.events.list({"created": {"gt": newest[0].created + 1}}).data == []


def test_what_is_not_delivered_survives_a_kill(part, api, hooks, control):
    hooks.refuse = 10_000
    product = api.products.create({"name": "Survives"})
    eventually(lambda: hooks.received)
    part.kill()
    hooks.received.clear()
    hooks.refuse = 0
    part.start()
    eventually(lambda: [body for body, _ in hooks.received if product.id.encode() in body])
    assert api.products.retrieve(product.id).name == "Survives"
