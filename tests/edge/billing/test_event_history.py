"""GET /api/v1/billing/tenants/{tenant_id}/events."""

import base64

import pytest

from models.platform.database import database
from tests.support.stripe_events import process, receive, record
from tests.support.stripe_objects import SEAT_PRICE, invoice


@pytest.fixture
def history(http, signed, tenant):
    """history(limit=..., ...) -> the answer for an admin of the tenant."""
    headers, _ = signed("admin")

    def get(tenant_id=tenant.id, headers=headers, **query):
        return http.simulate_get(f"/api/v1/billing/tenants/{tenant_id}/events", headers=headers, params=query)

    return get


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [item["stripe_event_id"] for item in answer.json["items"]]


def test_a_tenant_without_events(history):
    assert history().json == {"items": [], "next_cursor": None}


def test_all_outcomes_show_the_newest_first(history, tenant):
    old = receive(tenant, "invoice.paid", invoice())
    failed = receive(tenant, "customer.updated", {"id": "cus_1"}, state="failed", due_at=None)
    process(old)
    record(tenant, summary="Ours")
    items = history().json["items"]
    assert [(item["event_type"], item["processing_status"], item["position"]) for item in items] == [
        ("longshore.test", "processed", 2),
        ("customer.updated", "failed", None),
        ("invoice.paid", "processed", 1),
    ]
    assert items[1]["status"] == "failed" and items[1]["stripe_event_id"] == failed.external_id
    assert items[2]["status"] == "paid" and items[2]["invoice"]["amount_due_cents"] == 9900


def test_an_event_reads_the_same_before_and_after_it_is_processed(history, tenant):
    row = receive(tenant)
    [before] = history().json["items"]
    process(row)
    [after] = history().json["items"]
    assert before["processing_status"] == "received" and before["position"] is None
    assert before | {"processing_status": "processed", "position": 1} == after
    assert after["occurred_at"].endswith("Z")


def test_the_plan_is_found_by_our_table_of_prices(history, tenant):
    columns = "(plan_code, feature, stripe_product_id, stripe_price_id, is_current)"
    database.execute_sql(f"insert into stripe_price {columns} values ('pro', '', 'prod_1', '{SEAT_PRICE}', false)")
    try:
        receive(tenant)
        assert history().json["items"][0]["subscription"]["plan_code"] == "pro"
    finally:
        database.execute_sql("delete from stripe_price where stripe_price_id = %s", (SEAT_PRICE,))


def test_pages_repeat_and_lose_nothing_while_events_come(history, tenant):
    rows = [receive(tenant).external_id for _ in range(7)]
    database.execute_sql("update inbox_event set received_at = %s", ("2026-01-01T00:00:00Z",))  # ids decide
    first = history(limit=3)
    receive(tenant)
    second = history(limit=3, cursor=first.json["next_cursor"])
    third = history(limit=3, cursor=second.json["next_cursor"])
    assert ids(first) + ids(second) + ids(third) == rows[::-1]
    assert third.json["next_cursor"] is None


def test_filters(history, tenant):
    row, other = receive(tenant, "invoice.paid", invoice()), receive(tenant)
    process(row)
    assert ids(history(event_type="invoice.paid")) == [row.external_id]
    assert ids(history(event_type="invoice")) == []
    assert ids(history(processing_status="received")) == [other.external_id]
    assert ids(history(processing_status="processed")) == [row.external_id]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"processing_status": "parked"}, {"limit": "x"}])
def test_queries_that_do_not_fit(history, query):
    assert history(**query).status_code == 422


def encoded(text):
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "garbage",
        "%%%",
        "ä",
        encoded("{}"),
        encoded('{"received_at": 1, "id": 2}'),
        encoded("[]"),
        encoded("|"),
        encoded("2026-01-01|01a20ac7-784f-712d-8112-15c292557957"),
        encoded("2026-01-01T00:00:00+00:00|1"),
        encoded("0001-01-01T00:00:00+14:00|01a20ac7-784f-712d-8112-15c292557957"),
        encoded("2026-01-01T00:00:00+00:00|01a20ac7-784f-712d-8112-15c292557957|1"),
        "x" * 5000,
    ],
)
def test_cursors_that_are_none_of_ours(history, cursor):
    answer = history(cursor=cursor)
    assert (answer.status_code, answer.json["message"]) == (400, "Invalid cursor provided.")


def test_events_of_others_and_of_nobody_never_show(history, signed, tenant):
    from models.auth.tenants import Tenant

    other = Tenant.create(slug="other", name="Other")
    receive(other), receive(None), record(other)
    assert ids(history()) == []
    answer = history(tenant_id=other.id)
    assert (answer.status_code, answer.json["message"]) == (403, "Tenant mismatch between request and credentials.")
    assert history(tenant_id=str(tenant.id).upper()).status_code == 403


def test_members_do_not_see_the_history(history, signed):
    assert history(headers=signed("member")[0]).status_code == 403


@pytest.mark.parametrize(
    ("event_type", "thing"),
    [
        ("customer.subscription.updated", {"id": "sub_1", "trial_end": 10**18}),
        ("customer.subscription.updated", {"id": "sub_1", "items": {"data": ["si_1"]}}),
        ("invoice.paid", {"id": "in_1", "amount_due": "much", "lines": {"data": [None]}}),
    ],
)
def test_an_event_that_makes_no_sense_hides_no_others(history, tenant, event_type, thing):
    receive(tenant, event_type, thing, state="failed", due_at=None)
    record(tenant, summary="Ours")
    items = history().json["items"]
    assert [item["event_type"] for item in items] == ["longshore.test", event_type]
    assert (items[1]["processing_status"], items[1]["subscription"], items[1]["invoice"]) == ("failed", None, None)
    assert items[1]["usage"] == []
