"""POST /webhooks/stripe: what is answered is stored, once; and nobody but Stripe gets anything stored."""

import json
import threading
import time

import pytest

from tests.support import stripe_objects
from tests.support.crowd import crowd
from tests.support.stripe_webhooks import SECRET, digest, signature, signed

NEW, AGAIN = {"success": True, "duplicate": False}, {"success": True, "duplicate": True}


def an_event(event_id="evt_1", **more):
    return stripe_objects.event("customer.updated", {"id": "cus_1", "object": "customer"} | more, event_id)


@pytest.fixture
def deliver(http, billing):
    """deliver(event or bytes, headers=None) -> the answer."""

    def send(event, headers=None):
        raw, known = signed(event)
        return http.simulate_post("/webhooks/stripe", body=raw, headers=known if headers is None else headers)

    return send


def stored():
    from models.billing.events import InboxEvent

    return list(InboxEvent.select().order_by(InboxEvent.external_id))


def detail(answer):
    return answer.status_code, answer.json["detail"]


INVALID = (400, "Signature verification failed.")
PAYLOAD = (400, "Invalid payload.")


def test_an_event_is_stored_and_its_job_waits(deliver, jobs_named):
    answer = deliver(an_event())
    assert (answer.status_code, answer.json) == (202, NEW)
    (row,) = stored()
    assert (row.source, row.external_id, row.type, row.object_id) == ("stripe", "evt_1", "customer.updated", "cus_1")
    assert (row.state, row.attempts, row.tenant_id, row.payload) == ("received", 0, None, an_event())
    assert row.occurred_at.timestamp() == stripe_objects.START and row.due_at
    assert len(jobs_named("billing.events")) == 1


def test_the_tenant_that_an_event_names_is_remembered_if_it_exists(deliver, tenant):
    deliver(an_event("evt_1", metadata={"tenant_id": str(tenant.id)}))
    deliver(an_event("evt_2", metadata={"tenant_id": "0190a0a0-0000-7000-8000-000000000001"}))
    deliver(an_event("evt_3", parent={"subscription_details": {"metadata": {"tenant_id": str(tenant.id)}}}))
    assert [row.tenant_id for row in stored()] == [tenant.id, None, tenant.id]


def test_a_second_delivery_is_a_duplicate_whatever_became_of_the_first(deliver):
    assert [deliver(an_event()).json for _ in range(3)] == [NEW, AGAIN, AGAIN]
    assert len(stored()) == 1


def test_a_redelivery_makes_an_event_due_that_was_parked_or_waits_but_not_a_processed_one(deliver):
    from models.billing.events import InboxEvent

    for event_id in ("evt_1", "evt_2", "evt_3"):
        deliver(an_event(event_id))
    InboxEvent.update(state="failed", due_at=None).where(InboxEvent.external_id == "evt_1").execute()
    InboxEvent.update(state="failed", due_at="2100-01-01").where(InboxEvent.external_id == "evt_2").execute()
    InboxEvent.update(state="processed", due_at=None).where(InboxEvent.external_id == "evt_3").execute()
    assert [deliver(an_event(row.external_id)).json for row in stored()] == [AGAIN] * 3
    from models.platform.clock import now

    first, second, third = stored()
    assert first.due_at <= now() and second.due_at <= now() and third.due_at is None


def test_a_crowd_of_deliveries_stores_each_event_once(http, billing, deliver):
    answers = crowd(60, lambda number: deliver(an_event(f"evt_{number % 20:02}")))
    assert {answer.status_code for answer in answers} == {202}
    assert sum(answer.json == NEW for answer in answers) == len(stored()) == 20


@pytest.mark.parametrize("secret", [None, "", " , "])
def test_without_a_secret_nothing_is_accepted(deliver, configure, secret):
    from pydantic import SecretStr

    configure(stripe_webhook_secret=secret and SecretStr(secret))
    for headers in (None, {}):
        assert detail(deliver(an_event(), headers)) == (503, "Webhook secret not configured.")


def test_either_secret_of_a_rotation_fits(deliver, configure):
    from pydantic import SecretStr

    configure(stripe_webhook_secret=SecretStr("whsec_old, whsec_new"))
    for number, secrets in enumerate([["whsec_old"], ["whsec_new"], ["whsec_other", "whsec_old"]]):
        raw, headers = signed(an_event(f"evt_{number}"), *secrets)
        assert deliver(raw, headers).status_code == 202
    raw, headers = signed(an_event("evt_x"), "whsec_other", "whsec_old, whsec_new")
    assert detail(deliver(raw, headers)) == INVALID


def test_without_a_signature_nothing_is_accepted(deliver):
    assert detail(deliver(an_event(), {})) == (400, "Missing Stripe signature header.")
    assert stored() == []


RAW = json.dumps(an_event()).encode()
NOW = int(time.time())
GARBLED = {
    "of another body": lambda: signature(RAW + b" "),
    "of another secret": lambda: signature(RAW, "whsec_other"),
    "without a time": lambda: f"v1={digest(RAW)}",
    "without a digest": lambda: f"t={int(time.time())}",
    "of another time": lambda: f"t={int(time.time()) - 1},v1={digest(RAW)}",
    "with two times": lambda: f"t=1,{signature(RAW)}",
    "of another scheme": lambda: signature(RAW).replace("v1=", "v0="),
    "in upper case": lambda: f"t={int(time.time())},v1={digest(RAW).upper()}",
    "cut off": lambda: signature(RAW)[:-1],
    "empty parts": lambda: ",,=,==,",
    "a negative time": lambda: f"t=-{int(time.time())},v1={digest(RAW)}",
    "an endless time": lambda: f"t={'9' * 5000},v1={digest(RAW)}",
    "a time in other digits": lambda: f"t=١٢٣,v1={digest(RAW)}".encode().decode("latin-1"),
    "not ASCII": lambda: f"t={int(time.time())},v1=é",
    "a thousand wrong ones": lambda: f"t={int(time.time())}" + ",v1=00" * 1000,
}


@pytest.mark.parametrize("header", GARBLED.values(), ids=GARBLED)
def test_a_signature_that_does_not_fit_stores_nothing(deliver, header):
    assert detail(deliver(RAW, {"Stripe-Signature": header()})) == INVALID
    assert stored() == []


def test_the_right_signature_counts_among_hundreds(deliver):
    header = signature(RAW).replace(",v1=", "," + "v1=00," * 500 + "v1=")
    assert deliver(RAW, {"Stripe-Signature": header}).status_code == 202


@pytest.mark.parametrize("offset", [-301, 303, -86_400, 86_400])
def test_a_signature_of_another_time_is_refused_both_ways(deliver, offset):
    raw, headers = signed(an_event(), at=int(time.time()) + offset)
    assert detail(deliver(raw, headers)) == INVALID


@pytest.mark.parametrize("offset", [-280, 280])
def test_clocks_may_differ_a_little(deliver, offset):
    raw, headers = signed(an_event(), at=int(time.time()) + offset)
    assert deliver(raw, headers).status_code == 202


def test_the_signature_is_judged_before_the_json(deliver):
    assert detail(deliver(b"{", {"Stripe-Signature": "t=1,v1=00"})) == INVALID


def without(name):
    return json.dumps({key: value for key, value in an_event().items() if key != name}).encode()


NOT_EVENTS = {
    "empty": b"",
    "not UTF-8": RAW[:-1] + b"\xff}",
    "UTF-16": RAW.decode().encode("utf-16"),
    "not JSON": b"{'id': 1}",
    "NaN": RAW.replace(b"1767225600", b"NaN", 1),
    "an array": b"[]",
    "a text": b'"evt_1"',
    "null": b"null",
    "no id": without("id"),
    "no type": without("type"),
    "no time": without("created"),
    "no object": without("data"),
    "an id of another kind": json.dumps(an_event() | {"id": 7}).encode(),
    "an empty id": json.dumps(an_event("")).encode(),
    "a long id": json.dumps(an_event("e" * 256)).encode(),
    "a long type": json.dumps(an_event() | {"type": "t" * 129}).encode(),
    "an object that is none": json.dumps(an_event() | {"data": {"object": [1]}}).encode(),
    "an object's id of another kind": json.dumps(an_event(id={"a": 1})).encode(),
    "a time beyond all years": json.dumps(an_event() | {"created": 10**18}).encode(),
    "nested ten thousand deep": RAW[:-1] + b',"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "a number that Postgres does not take": RAW[:-1] + b',"x":' + b"9" * 140_000 + b"}",
}


@pytest.mark.parametrize("raw", NOT_EVENTS.values(), ids=NOT_EVENTS)
def test_what_is_signed_but_no_event_stores_nothing(deliver, raw):
    assert detail(deliver(raw)) == PAYLOAD
    assert stored() == []


def test_texts_that_postgres_does_not_take_are_replaced(deliver):
    assert deliver(an_event(name="a\0b\ud800")).status_code == 202
    assert stored()[0].payload["data"]["object"]["name"] == "a\ufffdb\ufffd"


def test_one_that_cannot_be_stored_does_not_keep_others_of_its_group_out(billing, clean):
    from edge.resources.billing.webhook import _store_group
    from models.billing.inbox import Delivery

    good = [Delivery.parse(json.dumps(an_event(f"evt_{number}")).encode()) for number in range(3)]
    bad = good[1]._replace(external_id="evt_bad", payload='{"a": "\\u0000"}')
    assert _store_group([good[0], bad, good[1], good[0], good[2]]) == [True, None, True, False, True]
    assert [row.external_id for row in stored()] == ["evt_0", "evt_1", "evt_2"]


def test_a_large_event_is_taken_up_to_the_limit_and_beyond_it_is_a_413(deliver, configure):
    assert deliver(an_event(text="x" * 500_000)).status_code == 202
    answer = deliver(an_event(text="x" * 524_288))
    assert (answer.status_code, answer.json["error"]) == (413, "body_too_large")
    assert len(stored()) == 1


def test_large_bodies_of_strangers_have_few_places(http, billing, clean):
    from edge.resources.billing import webhook

    resource = webhook.StripeWebhook()
    for number in range(webhook.LARGE_AT_ONCE):
        assert resource.large.add("all", number, None, webhook.LARGE_AT_ONCE)
    from falcon.testing import create_environ

    from edge.request import Request

    req = Request(create_environ(body="x" * 20_000, method="POST"))
    with pytest.raises(webhook.Busy):
        resource._read(req)


def test_what_the_header_shows_to_be_wrong_is_refused_before_the_body_is_read(http, billing, clean):
    class Unreadable:
        def read(self, *_):
            raise AssertionError("The body was read.")

        readline = readlines = __iter__ = read

    environ = {"wsgi.input": Unreadable(), "CONTENT_LENGTH": "500000"}
    for header in ("t=1,v1=00", "nonsense"):
        answer = http.simulate_post("/webhooks/stripe", headers={"Stripe-Signature": header}, extras=environ)
        assert answer.status_code == 400
    answer = http.simulate_post("/webhooks/stripe", headers={"Stripe-Signature": signature(RAW)}, extras=environ)
    assert answer.status_code == 500  # so it would have been noticed


def test_a_network_may_deliver_more_at_once_than_it_may_ask_elsewhere(deliver, configure, monkeypatch):
    from edge.resources.billing import webhook

    configure(network_request_limit=2)
    barrier, store = threading.Barrier(10), webhook._store

    def store_together(delivery):
        barrier.wait(10)
        return store(delivery)

    monkeypatch.setattr(webhook, "_store", store_together)
    answers = crowd(10, lambda number: deliver(an_event(f"evt_{number}")))
    assert {answer.status_code for answer in answers} == {202}


def test_postgres_away_is_a_503_and_nothing_is_promised(deliver, monkeypatch):
    import peewee

    from edge.resources.billing import webhook

    def away(_):
        raise peewee.OperationalError("the connection is gone")

    monkeypatch.setattr(webhook, "accept", away)
    answer = deliver(an_event())
    assert (answer.status_code, answer.json["error"]) == (503, "database_unavailable")


def test_the_steps_are_counted(deliver):
    from models.billing.inbox import RESULTS, UNVERIFIED

    def count(event_type, result):
        return RESULTS.labels(event_type, result)._value.get()

    pairs = [("customer.updated", "accepted"), ("customer.updated", "duplicate")]
    pairs += [(UNVERIFIED, name) for name in ("missing_signature", "invalid_signature", "invalid_json")]
    before = [count(*pair) for pair in pairs]
    deliver(an_event())
    deliver(an_event())
    deliver(an_event(), {})
    deliver(an_event(), {"Stripe-Signature": "t=1,v1=00"})
    deliver(b"[]")
    assert [count(*pair) - was for pair, was in zip(pairs, before, strict=True)] == [1, 1, 1, 1, 1]


def test_without_billing_the_path_does_not_exist(clean):
    import falcon.testing

    from edge.app import create_app
    from tests.support.accounts import CHEAP_HASHER

    client = falcon.testing.TestClient(create_app(hasher=CHEAP_HASHER), headers={"Host": "localhost"})
    answer = client.simulate_post("/webhooks/stripe", body=RAW, headers={"Stripe-Signature": signature(RAW, SECRET)})
    assert answer.status_code == 404


def test_a_connection_may_send_the_largest_event_though_other_bodies_are_smaller(configure):
    from edge.connections import OVERHEAD_BYTES, most_bytes

    configure(request_body_limit_bytes=16_384)
    assert most_bytes() == 524_288 + OVERHEAD_BYTES
    configure(request_body_limit_bytes=10**6)
    assert most_bytes() == 10**6 + OVERHEAD_BYTES
