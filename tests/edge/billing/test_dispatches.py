"""Operators see what became of Stripe's events, and replay them; nobody else does."""

import pytest

from tests.support.billing_inbox import named, reload, stored

EVENTS = "/api/v1/billing/operator/events"
PARKED = {"state": "failed", "due_at": None, "attempts": 15, "error": "ValueError: no"}
DONE = {"state": "processed", "due_at": None, "attempts": 1, "position": 1}


@pytest.fixture
def operator(signed):
    return signed(operator=True)[0]


@pytest.fixture
def inbox(billing, tenant):
    """One event of each state."""
    waiting = {"state": "failed", "attempts": 2, "due_at": "2100-01-01"}
    return [
        stored("customer.subscription.updated", named(tenant), "evt_received"),
        stored("customer.subscription.updated", named(tenant), "evt_processed", columns=DONE),
        stored("invoice.paid", {"id": "in_1", "object": "invoice"}, "evt_waiting", columns=waiting),
        stored("invoice.paid", {"id": "in_2", "object": "invoice"}, "evt_parked", columns=PARKED),
    ]


@pytest.fixture
def get(http, operator):
    return lambda path="", **params: http.simulate_get(EVENTS + path, params=params, headers=operator)


def ids(answer):
    return [item["stripe_event_id"] for item in answer.json["items"]]


@pytest.mark.parametrize("role", ["viewer", "member", "admin", "owner"])
def test_tenants_see_nothing_of_it(http, billing, signed, inbox, role):
    headers = signed(role)[0]
    calls = [("GET", ""), ("GET", "/evt_parked"), ("POST", "/evt_parked/replay"), ("POST", "/replay")]
    for method, path in calls:
        answer = http.simulate_request(method, EVENTS + path, headers=headers, json={} if method == "POST" else None)
        assert answer.status_code == 403
    assert http.simulate_get(EVENTS).status_code == 401
    assert reload(inbox[3]).due_at is None


def test_the_list_shows_all_tenants_events_without_payloads(get, inbox, tenant):
    answer = get()
    assert ids(answer) == ["evt_parked", "evt_waiting", "evt_processed", "evt_received"]
    assert [item["state"] for item in answer.json["items"]] == ["parked", "failed", "processed", "received"]
    parked = answer.json["items"][0]
    assert (parked["attempts"], parked["error"], parked["due_at"]) == (15, "ValueError: no", None)
    assert answer.json["items"][3]["tenant_id"] == str(tenant.id)
    assert "payload" not in answer.text and answer.json["next_cursor"] is None


def test_the_list_is_narrowed_by_state_type_and_tenant(get, inbox, tenant):
    assert ids(get(state="parked")) == ["evt_parked"]
    assert ids(get(state="failed")) == ["evt_parked", "evt_waiting"]
    assert ids(get(state="processed")) == ["evt_processed"]
    assert ids(get(event_type="invoice.paid")) == ["evt_parked", "evt_waiting"]
    assert ids(get(tenant_id=str(tenant.id))) == ["evt_processed", "evt_received"]
    assert get(state="lost").status_code == 422 and get(tenant_id="x").status_code == 422


def test_the_list_has_pages(get, inbox):
    first = get(limit=3)
    assert ids(get(limit=3, cursor=first.json["next_cursor"])) == ["evt_received"]
    answer = get(cursor="garbage")
    assert (answer.status_code, answer.json["detail"]) == (400, "Invalid cursor provided.")


def test_our_own_acts_are_not_in_it(get, billing, tenant):
    from models.billing import events
    from models.platform.database import transaction

    with transaction():
        events.record(tenant.id, "longshore.test")
    assert ids(get()) == []


def test_one_event_is_shown_with_its_payload_and_the_audit_log_says_to_whom(get, inbox):
    from models.platform.audit import AuditEvent

    for name in ("evt_parked", str(inbox[3].id)):
        answer = get(f"/{name}")
        assert answer.json["payload"]["data"]["object"]["id"] == "in_2" and answer.json["event"] is None
    events = AuditEvent.select().where(AuditEvent.action == "billing.event_read")
    assert [event.subject for event in events] == ["event:evt_parked"] * 2
    assert get("/evt_none").status_code == 404 and get("/0190a0a0-0000-7000-8000-000000000001").status_code == 404


def test_a_replay_makes_an_event_due_and_enqueues_a_job(http, operator, inbox, jobs_named):
    from models.platform.audit import AuditEvent
    from models.platform.clock import now

    jobs = len(jobs_named("billing.events"))
    for row in (inbox[1], inbox[3]):
        answer = http.simulate_post(f"{EVENTS}/{row.external_id}/replay", headers=operator)
        assert answer.status_code == 202 and answer.json["due_at"]
        assert reload(row).due_at <= now() and reload(row).state == row.state
    assert len(jobs_named("billing.events")) == jobs + 2
    assert AuditEvent.select().where(AuditEvent.action == "billing.event_replayed").count() == 2
    assert http.simulate_post(f"{EVENTS}/evt_none/replay", headers=operator).status_code == 404


def test_a_replay_of_many_takes_the_parked_ones_unless_told_otherwise(http, operator, inbox, billing, jobs_named):
    from models.platform.audit import AuditEvent

    more = [stored("invoice.paid", {"id": f"in_{n}"}, f"evt_more_{n}", columns=PARKED) for n in range(4)]
    answer = http.simulate_post(f"{EVENTS}/replay", headers=operator, json={"limit": 3})
    assert (answer.status_code, answer.json) == (202, {"replayed": 3})
    due = [reload(row).due_at is not None for row in [inbox[3], *more]]
    assert due == [True, True, True, False, False]  # those received first
    answer = http.simulate_post(f"{EVENTS}/replay", headers=operator, json={"event_type": "customer.created"})
    assert answer.json == {"replayed": 0}
    answer = http.simulate_post(f"{EVENTS}/replay", headers=operator, json={"state": "processed"})
    assert answer.json == {"replayed": 1}
    found = AuditEvent.select().where(AuditEvent.action == "billing.events_replayed").order_by(AuditEvent.id)
    details = [event.details for event in found]
    assert details == [{"count": 3, "state": "parked"}, {"count": 1, "state": "processed"}]
