"""A tenant's subscription over HTTP, with a worker and the stand-in for Stripe."""

import json

import pytest

from models.billing.customers import BillingCustomer
from models.billing.operations import BillingOperation
from models.billing.subscription import Subscription
from models.jobs.ledger import Job
from models.platform.database import transaction
from tests.support.billing import worker
from tests.support.crowd import crowd
from tests.support.routes import assert_envelope

GOOD, FAILS = "pm_card_visa", "pm_card_chargeCustomerFail"


class Client:
    """A caller of the billing of one tenant."""

    def __init__(self, http, headers, tenant):
        self.http, self.headers, self.tenant = http, headers, tenant
        self.path = f"/api/v1/billing/tenants/{tenant.id}"

    def __call__(self, method, name="subscription", headers=None, **body):
        return self.http.simulate_request(
            method, f"{self.path}/{name}", headers={**self.headers, **(headers or {})}, body=json.dumps(body)
        )

    def start(self, **body):
        return self("POST", **body)


@pytest.fixture
def owner(http, signed, tenant, billing):
    return Client(http, {**signed("owner")[0], "Content-Type": "application/json"}, tenant)


@pytest.fixture
def working(account, configure):
    """A worker does the operations."""
    configure(billing_wait_seconds=20)
    with worker(2):
        yield account


@pytest.fixture
def without_trial(tenant):
    with transaction():
        BillingCustomer.use_trial(tenant.id)


def jobs():
    return Job.select().where(Job.name == "billing.operation").count()


def test_from_start_to_end(owner, working, tenant):
    assert_envelope(owner("GET"), 404, "subscription_not_found")
    started = owner.start(plan_code="pro", billing_email="bills@example.com")
    assert started.status_code == 201, started.text
    shown = started.json
    assert (shown["status"], shown["plan_code"], shown["seat_count"]) == ("trialing", "pro", 5)
    assert shown["tenant_id"] == str(tenant.id) and shown["pending_change"] is None
    assert shown["trial_ends_at"].endswith("Z") and shown["metadata"]["stripe_price_id"].startswith("price_")
    assert not any(name in started.text for name in ('"cus_', '"sub_')), "Stripe's ids of them are not shown"
    assert owner("GET").json == shown

    changed = owner("PATCH", seat_count=6, auto_renew=False)
    assert (changed.status_code, changed.json["seat_count"], changed.json["auto_renew"]) == (200, 6, False)
    undone = owner("PATCH", auto_renew=True).json
    assert (undone["auto_renew"], undone["cancel_at"]) == (True, None)
    assert owner("PATCH", auto_renew=True, seat_count=6).json == undone, "no change"
    scheduled = owner("POST", "subscription/cancel").json
    assert (scheduled["auto_renew"], scheduled["cancel_at"]) == (False, scheduled["current_period_end"])
    asked = jobs()
    assert owner("POST", "subscription/cancel").json == scheduled and jobs() == asked
    ended = owner("POST", "subscription/cancel", cancel_at_period_end=False)
    assert (ended.status_code, ended.json["status"]) == (200, "canceled")
    assert owner("POST", "subscription/cancel", cancel_at_period_end=False).json == ended.json
    assert_envelope(owner("PATCH", seat_count=7), 409, "subscription_ended")
    assert owner.start(plan_code="starter").json["status"] == "active"


def test_of_fifty_starts_at_once_one_makes_the_subscription(owner, working, tenant):
    answers = crowd(50, lambda _: owner.start(plan_code="pro"))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] + [409] * 49
    assert {answer.json["error"] for answer in answers if answer.status_code == 409} == {"subscription_exists"}
    assert len(working.of("subscription", tenant)) == len(working.of("customer", tenant)) == 1


def test_what_cannot_be_started_asks_nothing_of_stripe(owner, account, tenant, without_trial, configure):
    assert_envelope(owner.start(plan_code="nope"), 404, "plan_not_found")
    refused = owner.start(plan_code="pro")
    assert_envelope(refused, 402, "payment_required")
    assert refused.json["details"] == {"checkout": f"/api/v1/billing/tenants/{tenant.id}/checkout"}
    for body in ({}, {"plan_code": "pro", "seat_count": 0}, {"plan_code": "pro", "seat_count": 10**30}):
        assert_envelope(owner.start(**body), 422)
    for body in ({"billing_email": "nobody"}, {"payment_method": "../x"}, {"promotion_code": "a b"}):
        assert_envelope(owner.start(plan_code="pro", **body), 422)
    assert_envelope(owner("PATCH"), 400, "nothing_to_update")
    assert owner("PATCH").json["message"] == "No subscription fields provided for update."
    missing = f"Tenant '{tenant.id}' does not have an active subscription."
    assert (
        owner("PATCH", seat_count=2).json["message"] == owner("POST", "subscription/cancel").json["message"] == missing
    )
    assert not BillingOperation.select().exists() and not Subscription.select().exists()


def test_a_plan_without_prices_is_a_clear_error(owner, account):
    from models.platform.database import database

    database.execute_sql("update stripe_price set is_current = false")
    answer = owner.start(plan_code="pro")
    assert answer.status_code == 503 and "pro" in answer.json["message"]
    assert not Subscription.select().exists()


def test_a_declined_card_is_402_and_leaves_nothing(owner, working, tenant, without_trial):
    declined = owner.start(plan_code="pro", payment_method=FAILS)
    assert_envelope(declined, 402, "card_declined")
    assert declined.json["details"]["decline_code"] == "generic_decline"
    assert owner("GET").status_code == 404
    assert owner.start(plan_code="pro", payment_method=GOOD).json["status"] == "active"


def test_stripe_away_is_pending_and_later_503(owner, account, configure, tenant):
    account.fault("*", status=503, times=10_000)
    started = owner.start(plan_code="pro")  # nobody works: it is not waited for long
    assert started.status_code == 201
    operation_id = started.headers["X-Operation-Id"]
    assert (started.json["status"], started.json["pending_change"]) == ("incomplete", "start")
    assert started.json["metadata"] == {"pending_change": "start", "operation_id": operation_id}
    assert owner("GET").json == started.json
    for method, name, body in (
        ("PATCH", "subscription", {"seat_count": 9}),
        ("POST", "subscription/cancel", {}),
    ):
        refused = owner(method, name, **body)
        assert_envelope(refused, 409, "change_pending")
        assert refused.json["details"] == {"operation_id": operation_id, "pending_change": "start"}
    shown = owner("GET", f"operations/{operation_id}").json
    assert (shown["state"], shown["kind"], shown["error"]) == ("pending", "start", None)
    with transaction():
        operation = BillingOperation.reload(operation_id)
        operation.fail("provider_unavailable", "Stripe could not be reached.")
    shown = owner("GET", f"operations/{operation_id}").json
    assert (shown["state"], shown["error"]["code"]) == ("failed", "provider_unavailable")


def test_a_cancellation_shows_at_once_while_it_is_pending(owner, account, configure):
    configure(billing_wait_seconds=20)
    with worker():
        before = owner.start(plan_code="pro").json
    configure(billing_wait_seconds=0)
    pending = owner("POST", "subscription/cancel").json
    assert (pending["auto_renew"], pending["cancel_at"]) == (False, before["current_period_end"])
    assert pending["pending_change"] == "cancel"
    again = owner("POST", "subscription/cancel")
    assert again.json == pending and jobs() == 2, "the same wish is the same operation"


def test_calls_that_need_stripe_are_limited_per_tenant(owner, account, configure):
    configure(billing_calls_per_minute=2)
    for _ in range(2):
        assert_envelope(owner("POST", "subscription/cancel"), 404)
    assert_envelope(owner("POST", "portal"), 429, "rate_limit_exceeded")
    assert owner("GET").status_code == 404, "reading is not limited"


# ---------------------------------------------------------------- who may

READS = [("GET", "subscription"), ("GET", "invoices"), ("GET", "operations/01a20ac7-784f-712d-8112-15c292557957")]
CHANGES = [
    ("POST", "subscription"),
    ("PATCH", "subscription"),
    ("POST", "subscription/cancel"),
    ("POST", "checkout"),
    ("POST", "portal"),
    ("POST", "preview"),
]


@pytest.mark.parametrize("role", ["viewer", "member"])
@pytest.mark.parametrize(("method", "name"), READS + CHANGES)
def test_members_without_the_scope_may_neither_read_nor_change(http, signed, tenant, account, role, method, name):
    client = Client(http, signed(role)[0], tenant)
    assert_envelope(client(method, name), 403, "insufficient_scope")


@pytest.mark.parametrize(("method", "name"), READS + CHANGES)
def test_another_tenants_path_is_403_whatever_it_has(http, signed, tenant, account, method, name):
    from models.auth.tenants import Tenant

    other = Tenant.create(slug="other", name="Other")
    Subscription.create(tenant_id=other.id, plan_code="pro", status="active")
    client = Client(http, {**signed("owner")[0], "Content-Type": "application/json"}, other)
    answer = client(method, name, plan_code="pro", seat_count=3)
    assert_envelope(answer, 403, "tenant_mismatch")
    assert answer.json["message"] == "Tenant mismatch between request and credentials."
    assert not BillingOperation.select().exists()


def test_a_billing_worker_acts_for_its_tenant_and_for_no_other(http, tenant, working):
    from models.auth import service_token_issuing, token_refresh
    from models.auth.service_token_issuing import ServiceTokenRequest
    from models.auth.tenants import Tenant
    from models.platform.principal import Root

    def client(*scopes):
        request = ServiceTokenRequest("billing-worker", list(scopes), str(tenant.id))
        _, refresh = service_token_issuing.issue(request, by=Root("test"))
        token = token_refresh.refresh(refresh).access_token
        return Client(http, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}, tenant)

    manager = client("billing:read", "billing:manage")
    assert manager.start(plan_code="pro").status_code == 201
    reader = client("billing:read")
    assert reader("GET").json["status"] == "trialing"
    assert_envelope(reader("PATCH", seat_count=9), 403, "insufficient_scope")
    other = Tenant.create(slug="other", name="Other")
    assert_envelope(Client(http, manager.headers, other)("GET"), 403, "tenant_mismatch")


# ---------------------------------------------------------------- pages


def test_pages_lead_back_to_our_sites_only_and_their_links_are_for_managers(owner, working, http, tenant, configure):
    configure(app_public_url="https://app.example.com", allowed_origins="https://admin.example.com:8443")
    opened = owner("POST", "checkout", plan_code="pro", success_url="https://admin.example.com:8443/paid?a=1")
    assert opened.status_code == 201 and opened.json["url"].startswith(working.url)
    assert opened.headers["Cache-Control"] == "no-store"
    [page] = working.of("checkout.session", tenant)
    assert (page["success_url"], page["cancel_url"]) == (
        "https://admin.example.com:8443/paid?a=1",
        "https://app.example.com",
    )
    shown = owner("GET", f"operations/{opened.json['operation_id']}")
    assert shown.json["url"] == opened.json["url"]
    lowered = owner("GET", f"operations/{opened.json['operation_id']}", headers={"X-Tenant-Role": "viewer"})
    assert lowered.json["url"] is None
    assert owner("POST", "portal").json["url"].startswith(working.url)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.net/",
        "//evil.example.net",
        "https://app.example.com@evil.example.net/",
        "https://app.example.com.evil.example.net/",
        "http://app.example.com/",
        "https://app.example.com:444/",
        "https://evil.example.net\\@app.example.com/",
        "https://app.example.com\\.evil.example.net/",
        "https://app.example.com\t/",
        "https://app.example.com /",
        "javascript:alert(1)",
        "data:text/html,x",
        "/relative",
        "https:///app.example.com",
        "https://\u0430pp.example.com/",
        "https://app.example.com:99999/",
        "",
    ],
)
@pytest.mark.parametrize(
    ("name", "field"), [("checkout", "success_url"), ("checkout", "cancel_url"), ("portal", "return_url")]
)
def test_pages_never_lead_elsewhere(owner, account, configure, url, name, field):
    configure(app_public_url="https://app.example.com", allowed_origins="https://admin.example.com")
    more = {"plan_code": "pro"} if name == "checkout" else {}
    assert_envelope(owner("POST", name, **more, **{field: url}), 422)
    assert not BillingOperation.select().exists()


def test_a_preview_over_http(owner, working):
    owner.start(plan_code="pro")
    shown = owner("POST", "preview", seat_count=7)
    assert shown.status_code == 200, shown.text
    assert shown.json["currency"] == "USD" and shown.json["lines"]
    assert_envelope(owner("POST", "preview", plan_code="nope"), 404, "plan_not_found")


def test_invoices_are_listed_the_newest_first(owner, billing, tenant):
    from datetime import timedelta

    from models.billing.invoices import Invoice
    from models.platform.clock import now

    for number in range(3):
        Invoice.create(
            tenant_id=tenant.id, stripe_invoice_id=f"in_{number}", status="paid", currency="USD", total_cents=number,
            amount_due_cents=0, amount_paid_cents=number, issued_at=now() + timedelta(days=number), as_of=now(), rank=1,
            event_id="e",
        )  # fmt: skip
    first = owner.http.simulate_get(f"{owner.path}/invoices", headers=owner.headers, params={"limit": 2}).json
    assert [item["invoice_id"] for item in first["items"]] == ["in_2", "in_1"]
    params = {"limit": 2, "cursor": first["next_cursor"]}
    rest = owner.http.simulate_get(f"{owner.path}/invoices", headers=owner.headers, params=params).json
    assert [item["invoice_id"] for item in rest["items"]] == ["in_0"] and rest["next_cursor"] is None


# ---------------------------------------------------------------- accounts


def test_an_account_comes_with_its_subscription_while_stripe_is_away(http, account, configure, clean):
    configure(signup_access_policy="public")
    account.fault("*", status=503, times=10_000)
    body = {
        "email": "jo@example.com",
        "password": "violet tractor umbrella",
        "tenant_name": "Jo's",
        "accept_terms": True,
    }
    answer = http.simulate_post("/api/v1/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    row = Subscription.get()
    assert (row.status, row.plan_code, row.billing_email, row.seat_count) == (
        "trialing",
        "starter",
        "jo@example.com",
        1,
    )
    assert jobs() == 1 and BillingOperation.get().kind == "provision"


def test_an_account_of_a_plan_that_is_not_sold_is_not_made(http, account, configure, clean):
    from models.auth.tenants import Plan, Tenant

    configure(signup_access_policy="public")
    body = {
        "email": "jo@example.com",
        "password": "violet tractor umbrella",
        "tenant_name": "Jo's",
        "accept_terms": True,
    }
    Plan.update(is_active=False).where(Plan.code == "pro").execute()
    try:
        for plan_code, status in (("nope", 404), ("pro", 409)):
            answer = http.simulate_post("/api/v1/auth/register", json={**body, "plan_code": plan_code})
            assert answer.status_code == status, answer.text
    finally:
        Plan.update(is_active=True).where(Plan.code == "pro").execute()
    assert not Tenant.select().exists() and not Subscription.select().exists()


def test_of_twenty_cancellations_at_once_all_succeed_by_one_operation(owner, working):
    owner.start(plan_code="pro")
    answers = crowd(20, lambda _: owner("POST", "subscription/cancel"))
    assert {answer.status_code for answer in answers} == {200}
    assert not any(answer.json["auto_renew"] for answer in answers)
    assert BillingOperation.select().where(BillingOperation.kind == "cancel").count() == 1


def test_of_many_changes_at_once_each_is_made_or_refused(owner, working, tenant):
    owner.start(plan_code="pro")
    answers = crowd(12, lambda number: owner("PATCH", seat_count=6 + number))
    made = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert made and {answer.json["error"] for answer in refused} <= {"change_pending"}
    [subscription] = working.of("subscription", tenant)
    seats = {item.get("quantity") for item in subscription["items"]["data"]} - {None}
    assert Subscription.of_tenant(tenant.id).seat_count in seats


def test_whatever_stripe_says_has_a_status_of_its_own():
    from edge.resources.billing.asking import STATUS
    from workers.gateways import stripe

    errors = [
        stripe.CardDeclined,
        stripe.NotThere,
        stripe.ProviderAuthentication,
        stripe.ProviderRejected,
        stripe.ProviderUnavailable,
    ]
    assert {error.code for error in errors} <= STATUS.keys()


def test_a_cancellation_is_not_answered_as_done_while_an_open_change_takes_it_back(owner, account, configure):
    configure(billing_wait_seconds=20)
    with worker():
        owner.start(plan_code="pro")
        owner("POST", "subscription/cancel")
    configure(billing_wait_seconds=0)
    assert owner("PATCH", auto_renew=True).json["pending_change"] == "update"
    assert_envelope(owner("POST", "subscription/cancel"), 409, "change_pending")


@pytest.mark.parametrize("code", ["\0", "x" * 100_000, "\ud800"])
def test_a_plan_code_of_any_text_is_only_unknown(owner, account, code):
    for answer in (owner.start(plan_code=code), owner("POST", "checkout", plan_code=code)):
        assert answer.status_code in (400, 404, 422) and len(answer.text) < 2000, answer.text[:200]
