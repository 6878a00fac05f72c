"""The billing webhook's secret, test and deliveries."""

import pytest

from models.jobs.ledger import Job
from models.platform.clock import now
from tests.support.receiver import Receiver

SETTINGS = "/api/v1/tenants/settings"
PATH = f"{SETTINGS}/billing-webhook"


@pytest.fixture
def admin(signed):
    return signed("admin")[0]


@pytest.fixture
def receiver(configure, http, admin):
    found = Receiver()
    configure(webhook_trusted_hosts=found.host)
    body = {
        "billing_contacts": [],
        "plan_metadata": {},
        "flags": {},
        "billing_webhook_url": f"http://{found.host}/hook",
    }
    assert http.simulate_put(SETTINGS, headers=admin, json=body).status_code == 200
    yield found
    found.stop()


def work():
    from workers.billing import notices  # noqa: F401  (registers the actors)
    from workers.broker import broker
    from workers.mail import billing  # noqa: F401

    for job in Job.select().where((Job.name == "billing.webhook") & (Job.state == "queued")):
        Job.update(due_at=now()).where(Job.id == job.id).execute()
        broker.get_actor(job.name).fn(str(job.id))


def test_a_secret_is_shown_once(http, admin):
    first = http.simulate_post(f"{PATH}/secret", headers=admin)
    second = http.simulate_post(f"{PATH}/secret", headers=admin)
    assert first.status_code == second.status_code == 201
    assert first.json["secret"].startswith("whsec_") and first.json["secret"] != second.json["secret"]
    assert first.json["former_signs_until"] is None and second.json["former_signs_until"].endswith("Z")
    assert first.headers["Cache-Control"] == "no-store"
    assert "whsec" not in http.simulate_get(SETTINGS, headers=admin).text


@pytest.mark.parametrize(("status", "state"), [(204, "delivered"), (500, "given_up")])
def test_a_test_arrives_once_and_is_listed(http, admin, receiver, status, state):
    receiver.answers = [status]
    answer = http.simulate_post(f"{PATH}/test", headers=admin)
    assert (answer.status_code, answer.json["state"], answer.json["kind"]) == (202, "pending", "test")
    work(), work()
    [(_, headers, body)] = receiver.got
    assert b'"billing.test"' in body and headers["webhook-signature"].startswith("v1,")
    [listed] = http.simulate_get(f"{PATH}/deliveries", headers=admin).json["items"]
    assert (listed["id"], listed["state"], listed["status_code"]) == (answer.json["id"], state, status)


def test_without_a_webhook_there_is_nothing_to_test(http, admin):
    answer = http.simulate_post(f"{PATH}/test", headers=admin)
    assert (answer.status_code, answer.json["error"]) == (409, "no_webhook")


def test_tests_are_limited(http, admin, receiver, monkeypatch):
    from edge.resources.billing import tenant_webhook

    monkeypatch.setattr(tenant_webhook, "TESTS_PER_HOUR", 1)
    statuses = [http.simulate_post(f"{PATH}/test", headers=admin).status_code for _ in range(2)]
    assert statuses == [202, 429]


def test_deliveries_come_in_pages_and_only_the_tenants_own(http, admin, signed, receiver):
    from models.auth.tenants import Tenant

    ids = [http.simulate_post(f"{PATH}/test", headers=admin).json["id"] for _ in range(3)]
    first = http.simulate_get(f"{PATH}/deliveries", headers=admin, params={"limit": 2}).json
    rest = http.simulate_get(f"{PATH}/deliveries", headers=admin, params={"cursor": first["next_cursor"]}).json
    assert [one["id"] for one in first["items"] + rest["items"]] == ids[::-1] and rest["next_cursor"] is None
    stranger, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"))
    assert http.simulate_get(f"{PATH}/deliveries", headers=stranger).json["items"] == []


@pytest.mark.parametrize(("method", "what"), [("POST", "secret"), ("POST", "test"), ("GET", "deliveries")])
def test_only_admins(http, signed, method, what):
    assert http.simulate_request(method, f"{PATH}/{what}", headers=signed("member")[0]).status_code == 403
