"""Sending an incident's alerts once more: who reaches whom, how often, and what is counted."""

import pytest

from models.platform.audit import AuditEvent
from models.platform.ids import uuid7
from tests.support.accounts import log_in
from tests.support.crowd import crowd
from tests.support.routes import assert_envelope
from tests.support.status import deliveries, fan_out, give_all_up, incident, subscribe, update


@pytest.fixture
def other(tenant):
    from models.auth.tenants import Tenant

    return Tenant.create(slug="other", name="Other")


@pytest.fixture
def resend(http):
    """resend(headers, incident_id, ...) -> the answer."""
    return lambda headers, slug, **body: http.simulate_post(
        f"/api/v1/status/incidents/{slug}/resend", headers=headers, json=body
    )


@pytest.fixture
def crowd_of_three(tenant, other):
    """A subscription of the public, one of the tenant, one of another tenant; by those words."""
    return {
        subscribe("public@example.com").id: "public",
        subscribe("own@example.com", tenant=tenant).id: "own",
        subscribe("other@example.com", tenant=other).id: "other",
    }


def told(rows):
    return sorted(rows[one.subscription_id] for one in deliveries())


def test_a_manager_reaches_their_own_tenant_only(resend, signed, crowd_of_three):
    headers, user = signed("admin")
    row, _ = incident()
    answer = resend(headers, row.slug)
    assert answer.status_code == 202 and answer.json == {"dispatched": 1}
    assert told(crowd_of_three) == ["own"]
    event = AuditEvent.get(AuditEvent.action == "status_incident.resent")
    assert event.actor == f"user:{user.id}" and event.details["dispatched"] == 1


def test_a_manager_cannot_name_another_tenant(resend, signed, crowd_of_three, other, tenant):
    headers, _ = signed("owner")
    row, _ = incident()
    assert_envelope(resend(headers, row.slug, tenant_id=str(other.id)), 403, "out_of_reach")
    assert not deliveries()
    assert resend(headers, row.slug, tenant_id=str(tenant.id)).json == {"dispatched": 1}


def test_an_operator_reaches_everybody_or_one_tenant(resend, signed, crowd_of_three, other):
    headers, _ = signed("member", operator=True)
    row, _ = incident()
    assert resend(headers, row.slug, tenant_id=str(other.id)).json == {"dispatched": 1}
    assert told(crowd_of_three) == ["other"]
    assert resend(headers, row.slug).json == {"dispatched": 3}


def test_an_operator_who_acts_in_another_tenant_reaches_that_only(resend, signed, crowd_of_three, other, tenant):
    from models.auth import operators
    from models.platform.principal import Root

    headers, user = signed("member", operator=True)
    row, _ = incident()
    elsewhere = {"X-Operator-Override": "true", "X-Operator-Reason": "A call.", "X-Tenant-Id": str(other.id)}
    assert resend(headers | elsewhere, row.slug).status_code == 403
    operators.grant(user.email, ["support:*"], by=Root("test"))
    headers["Authorization"] = f"Bearer {log_in(user.email).access_token}"
    assert resend(headers | elsewhere, row.slug).json == {"dispatched": 1}
    assert told(crowd_of_three) == ["other"]


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_others_may_not(resend, signed, role):
    headers, _ = signed(role)
    row, _ = incident()
    assert resend(headers, row.slug).status_code == 403
    assert resend(None, row.slug).status_code == 401
    assert not deliveries()


@pytest.mark.parametrize(("severity", "count"), [("all", 3), ("major", 2), ("maintenance", 2)])
def test_the_caller_chooses_the_severity(resend, signed, tenant, severity, count):
    headers, _ = signed("admin")
    for number, wanted in enumerate(("all", "major", "maintenance")):
        subscribe(f"{number}@example.com", tenant=tenant, severity=wanted)
    row, _ = incident(severity="minor")
    assert resend(headers, row.slug, severity=severity).json == {"dispatched": count}


def test_bad_input_is_refused_and_sends_nothing(resend, signed, crowd_of_three):
    headers, _ = signed("admin")
    row, _ = incident()
    assert_envelope(resend(headers, row.slug, severity="everything"), 422)
    assert_envelope(resend(headers, row.slug, tenant_id="acme"), 422)
    assert_envelope(resend(headers, "unknown-2026"), 404, "incident_not_found")
    draft, _ = incident(published=False)
    assert_envelope(resend(headers, draft.slug), 404, "incident_not_found")
    assert not deliveries()


def test_a_crowd_of_calls_tells_everybody_once(resend, signed, crowd_of_three):
    headers, _ = signed("admin")
    row, _ = incident()
    answers = crowd(20, lambda _: resend(headers, row.slug))
    assert sorted(answer.status_code for answer in answers) == [202] + [429] * 19
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert_envelope(refused, 429, "resent_just_now")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert told(crowd_of_three) == ["own"]


def test_the_pause_is_of_an_incident_and_of_those_who_are_told(resend, signed, crowd_of_three, other):
    manager, operator = signed("admin")[0], signed("member", operator=True)[0]
    row, another = incident()[0], incident()[0]
    assert resend(manager, row.slug).status_code == 202
    assert resend(manager, another.slug).status_code == 202
    assert resend(operator, row.slug, tenant_id=str(other.id)).status_code == 202
    assert resend(operator, row.slug).status_code == 202
    assert resend(operator, row.slug).status_code == 429


def test_it_tells_of_the_last_update(resend, signed, crowd_of_three):
    headers, _ = signed("admin")
    row, _ = incident()
    last = update(row, state="identified")
    resend(headers, row.slug)
    assert [one.update_id for one in deliveries()] == [last.id]


def test_operators_see_how_far_a_fan_out_is(http, signed, crowd_of_three, mailbox):
    headers, _ = signed("member", operator=True)
    row, first = incident()
    fan_out(first)
    [shown] = http.simulate_get("/api/v1/status/fan-outs", headers=headers).json["items"]
    assert (shown["incident_id"], shown["kind"], shown["total"]) == (row.slug, "update", 3)
    assert shown["deliveries"] == {"pending": 0, "delivered": 3, "given_up": 0, "skipped": 0}
    page = http.simulate_get("/api/v1/status/deliveries", headers=headers, query_string="limit=2&channel=email").json
    rest = http.simulate_get(
        "/api/v1/status/deliveries", headers=headers, query_string=f"cursor={page['next_cursor']}"
    ).json
    assert len(page["items"]) == 2 and len(rest["items"]) == 1 and rest["next_cursor"] is None
    assert "own@example.com" not in str(page) + str(rest)
    assert not http.simulate_get("/api/v1/status/deliveries", headers=headers, query_string="state=given_up").json[
        "items"
    ]


def test_managers_have_their_own_deliveries_sent_again_and_no_others(http, signed, tenant, other, crowd_of_three):
    headers, _ = signed("admin")
    _, first = incident()
    give_all_up(first)
    own, foreign = (
        next(one for one in deliveries() if crowd_of_three[one.subscription_id] == name) for name in ("own", "other")
    )
    path = "/api/v1/status/subscriptions/{}/deliveries/{}/redeliver".format
    answer = http.simulate_post(path(own.subscription_id, own.id), headers=headers)
    assert answer.status_code == 202 and answer.json == {"id": str(own.id), "state": "pending", "attempts": 0}
    for ids in (
        (foreign.subscription_id, foreign.id),
        (own.subscription_id, foreign.id),
        (own.subscription_id, uuid7()),
    ):
        assert http.simulate_post(path(*ids), headers=headers).status_code == 404
    assert http.simulate_post(f"/api/v1/status/deliveries/{own.id}/redeliver", headers=headers).status_code == 403


def test_nothing_is_sent_again_to_who_has_left(http, signed, tenant):
    from models.status.subscriptions import StatusSubscription

    headers, _ = signed("member", operator=True)
    subscribe("own@example.com", tenant=tenant)
    give_all_up(incident()[1])
    StatusSubscription.update(status="revoked").execute()
    answer = http.simulate_post(f"/api/v1/status/deliveries/{deliveries()[0].id}/redeliver", headers=headers)
    assert_envelope(answer, 409, "subscription_not_active")
