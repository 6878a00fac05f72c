"""Usage over HTTP: what callers report, what they read, and how new work is refused."""

from datetime import UTC, datetime, timedelta

import pytest

from models.auth.tenants import Tenant
from models.platform.clock import iso, now
from models.platform.database import database, transaction
from models.platform.ids import uuid7
from models.runs import usage
from models.runs.run import Run
from tests.support.chunks import make_file, make_store
from tests.support.containers import make_container
from tests.support.crowd import crowd
from tests.support.routes import UNKNOWN_ID, assert_envelope
from tests.support.storage import object_by

RECORDED = {"success": True, "message": "Usage recorded.", "data": None}


@pytest.fixture
def post(http, signed, tenant, subscribed, limited):
    """post(feature_key=, quantity=, ...) -> the answer to a report of an admin, whose tenant has a subscription."""
    subscribed()
    limited("api.calls", hard=1000)
    headers, _ = signed("admin")
    path = f"/api/v1/billing/tenants/{tenant.id}/usage"
    return lambda **body: http.simulate_post(
        path, headers=headers, json={"feature_key": "api.calls", "quantity": 5, **body}
    )


def counted(tenant):
    return database.execute_sql(
        "select coalesce(sum(quantity), 0) from usage_entry where tenant_id = %s", (tenant.id,)
    ).fetchone()[0]


def test_reports_add_up(post, tenant):
    for _ in range(2):
        answer = post()
        assert (answer.status_code, answer.json) == (202, RECORDED)
    assert counted(tenant) == 10


def test_reports_of_the_same_period_add_up(post, tenant):
    start = iso(now() - timedelta(hours=1))
    assert {post(period_start=start, idempotency_key=key).status_code for key in ("a", "b", None)} == {202}
    assert counted(tenant) == 15


def test_a_repeated_key_is_counted_once_also_in_a_crowd(post, tenant):
    answers = crowd(20, lambda _: post(idempotency_key="report-1"))
    assert {answer.status_code for answer in answers} == {202} and counted(tenant) == 5
    assert_envelope(post(idempotency_key="report-1", quantity=6), 409, "idempotency_conflict")
    assert_envelope(post(idempotency_key="report-1", period_end=iso(now())), 409, "idempotency_conflict")
    assert counted(tenant) == 5


def test_keys_belong_to_their_feature_and_tenant(post, tenant, limited, signed, http):
    limited("pages")
    assert {post(idempotency_key="k").status_code, post(idempotency_key="k", feature_key="pages").status_code} == {202}
    assert counted(tenant) == 10


@pytest.mark.parametrize(
    "body",
    [
        {"quantity": 0},
        {"quantity": -1},
        {"quantity": 10**12 + 1},
        {"quantity": 10**40},
        {"quantity": 1.5},
        {"quantity": True},
        {"quantity": "5"},
        {"feature_key": ""},
        {"feature_key": "x" * 65},
        {"feature_key": "a\x00b"},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 256},
        {"idempotency_key": "a\x00b"},
        {"period_start": "0001-01-01T00:00:00+14:00"},
        {"period_start": "9999-12-31T23:59:59-14:00"},
        {"period_start": "soon"},
        {"period_start": "2026-01-02T00:00:00Z", "period_end": "2026-01-01T00:00:00Z"},
        {"period_end": "2199-01-01T00:00:00Z"},
        {"period_start": "2020-01-01T00:00:00Z"},
    ],
)
def test_what_makes_no_sense_is_refused(post, tenant, body):
    assert post(**body).status_code == 422
    assert counted(tenant) == 0


def test_unknown_features_and_levels_are_not_counted(post, limited):
    limited("storage.bytes", is_metered=False)
    for feature in ("nothing", "storage.bytes"):
        assert_envelope(post(feature_key=feature), 404, "feature_not_found")


def test_late_usage_counts_at_the_end_of_its_period_and_naive_times_are_utc(post, tenant):
    day = (now() - timedelta(days=20)).replace(hour=12, minute=0, second=0, microsecond=0)
    post(period_start="2026-01-01T00:00:00Z", period_end=day.replace(tzinfo=None).isoformat())
    assert database.execute_sql("select used_at from usage_entry").fetchone()[0] == day


def test_only_a_confirmed_subscription_that_has_not_ended_takes_usage(post, subscribed, tenant):
    subscribed("canceled")
    assert_envelope(post(), 409, "subscription_ended")
    subscribed(stripe_subscription_id=None)
    assert post().json["detail"] == "Subscription is missing processor identifier."
    database.execute_sql("delete from subscription")
    answer = post()
    assert_envelope(answer, 404)
    assert answer.json["detail"] == f"Tenant '{tenant.id}' does not have an active subscription."
    assert counted(tenant) == 0


def test_the_tenant_of_the_path_is_that_of_the_token(http, signed, subscribed, tenant):
    other = Tenant.create(slug="other", name="Other")
    headers, _ = signed("owner")
    for named in (other.id, UNKNOWN_ID, str(tenant.id).upper(), "acme"):
        path = f"/api/v1/billing/tenants/{named}/usage"
        body = {"feature_key": "api.calls", "quantity": 1}
        for answer in (http.simulate_get(path, headers=headers), http.simulate_post(path, headers=headers, json=body)):
            assert_envelope(answer, 403)
            assert answer.json["detail"] == "Tenant mismatch between request and credentials."


def test_members_read_no_usage_and_viewers_report_none(http, signed, subscribed, tenant):
    path = f"/api/v1/billing/tenants/{tenant.id}/usage"
    for role in ("viewer", "member"):
        headers, _ = signed(role)
        body = {"feature_key": "api.calls", "quantity": 1}
        assert http.simulate_post(path, headers=headers, json=body).status_code == 403
        assert http.simulate_get(path, headers=headers).status_code == 403


def test_reports_are_limited_per_tenant(post, configure, tenant):
    configure(usage_rate_limit_per_minute=2)
    statuses = [post().status_code for _ in range(3)]
    assert statuses in ([202, 202, 429], [202, 202, 202]) and counted(tenant) <= 15  # the minute may end in between


def test_usage_is_read_with_limits_and_days(post, http, signed, tenant, limited):
    limited("storage.bytes", hard=100, is_metered=False)
    post(quantity=7)
    headers, _ = signed("admin")
    path = f"/api/v1/billing/tenants/{tenant.id}/usage"
    answer = http.simulate_get(path, headers=headers).json
    assert answer["plan_code"] == "small" and answer["window_start"] < iso(now()) < answer["window_end"]
    features = {one["feature_key"]: one for one in answer["features"]}
    assert (features["api.calls"]["used"], features["api.calls"]["hard_limit"]) == (7, 1000)
    assert (features["storage.bytes"]["used"], features["storage.bytes"]["is_metered"]) == (0, False)
    assert [(one["feature_key"], one["quantity"]) for one in answer["days"]] == [("api.calls", 7)]
    past = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    assert http.simulate_get(path, headers=headers, params=past).json["days"] == []
    for query in (
        {"start": past["start"]},
        {"start": past["end"], "end": past["start"]},
        {**past, "end": "2036-01-01"},
    ):
        assert http.simulate_get(path, headers=headers, params=query).status_code == 422


def test_what_is_limited_at_any_time_is_counted_when_it_is_read(http, signed, subscribed, tenant, limited):
    headers, _ = signed("admin")
    expected = {
        "containers.per_tenant": 1,
        "storage.total_bytes_per_tenant": 30,
        "vector.stores_per_tenant": 2,
        "vector.total_bytes_per_tenant": 18,
        "vector.files_per_store": 2,
        "vector.max_file_bytes": 7,
    }
    for feature in expected:
        limited(feature, hard=1000, is_metered=False)
    subscribed()
    for owner in (tenant, Tenant.create(slug="other", name="Other")):
        make_container(owner, "here", provider_id=f"cntr_{owner.id.hex}")
        make_container(owner, "gone", provider_id=f"cntr_{owner.id.hex}_2", deleted_at=now())
        for size, status in ((10, "ready"), (20, "pending_upload"), (40, "rejected")):
            object_by(None, owner, size_bytes=size, status=status)
        store, other = make_store(owner, "a"), make_store(owner, "b")
        for home, size in ((store, 7), (store, 5), (other, 6)):
            make_file(home, f"{size}.txt", size_bytes=size)
    answer = http.simulate_get(f"/api/v1/billing/tenants/{tenant.id}/usage", headers=headers).json
    features = {one["feature_key"]: one["used"] for one in answer["features"]}
    assert {feature: features[feature] for feature in expected} == expected


# ------------------------------------------------------------- refusing new work


@pytest.mark.parametrize("path", ["/api/v1/chat/stream", "/api/v1/workflows/analysis_code/run-stream"])
def test_a_tenant_that_has_used_up_its_plan_is_refused_with_all_limits(http, signed, tenant, limited, path):
    limited("messages", hard=0)
    limited("output_tokens", hard=10)
    with transaction():
        usage.record(tenant.id, uuid7(), {"output_tokens": 12})
    headers, _ = signed()
    answer = http.simulate_post(path, headers=headers, json={"message": "hi"})
    assert_envelope(answer, 429, "usage_limit_exceeded")
    detail = answer.json["detail"]
    assert (detail["feature_key"], detail["limit_type"], detail["limit_value"]) == ("messages", "hard_limit", 0)
    assert [(one["feature_key"], one["usage"]) for one in detail["breaches"]] == [
        ("messages", 0),
        ("output_tokens", 12),
    ]
    reset = datetime.fromisoformat(detail["window_end"]) - datetime.now(UTC)
    assert abs(int(answer.headers["Retry-After"]) - reset.total_seconds()) < 60
    assert Run.select().count() == 0


def test_a_soft_limit_is_told_in_a_header(http, signed, tenant, limited, configure):
    limited("messages", soft=0, hard=9)
    configure(chat_wait_seconds=0.1)
    headers, _ = signed()
    answer = http.simulate_post("/api/v1/chat", headers=headers, json={"message": "hi"})
    told = answer.headers["X-Usage-Warning"]
    assert told.startswith("messages;used=0;soft=0;hard=9;reset="), told


def test_a_repeated_request_gets_its_run_although_nothing_is_left(http, signed, limited, configure):
    limited("messages", hard=1)
    configure(chat_wait_seconds=0.1)
    headers, _ = signed()

    def chat(key):
        return http.simulate_post("/api/v1/chat", headers={**headers, "Idempotency-Key": key}, json={"message": "hi"})

    first = chat("one")
    assert chat("one").headers["X-Run-Id"] == first.headers["X-Run-Id"]
    assert chat("two").status_code == 429


def test_without_a_live_subscription_nothing_begins(http, signed, subscribed):
    headers, _ = signed()
    answer = http.simulate_post("/api/v1/chat", headers=headers, json={"message": "hi"})
    assert_envelope(answer, 402, "usage_policy_configuration_error")
    assert set(answer.json["detail"]) == {"code", "message", "tenant_id"}
    subscribed("unpaid")
    assert_envelope(
        http.simulate_post("/api/v1/chat", headers=headers, json={"message": "hi"}), 402, "subscription_inactive"
    )
    assert Run.select().count() == 0
