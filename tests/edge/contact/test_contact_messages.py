"""Operators: the list of messages, assigning, closing, reopening and erasing them."""

import pytest

from models.contact.messages import ContactMessage
from models.platform.audit import AuditEvent
from models.platform.client_info import ClientInfo
from models.platform.database import transaction
from tests.support.crowd import crowd
from tests.support.routes import assert_envelope

TEXT = "Do you ship to Norway?"


def left(email="jo@example.com", **more):
    with transaction():
        return ContactMessage.submit(email=email, message=TEXT, client=ClientInfo("192.0.2.7", "curl/8"), **more)


@pytest.fixture
def operator(http, signed):
    """operator(method, path below the messages, **body) -> the answer for somebody who operates the platform."""
    headers, user = signed("viewer", operator=True)

    def call(method, path="", **body):
        url, _, params = f"/api/v1/contact/messages{path}".partition("?")
        return http.simulate_request(
            method, url, query_string=params, headers=headers, json=body if method == "POST" else None
        )

    call.subject = f"user:{user.id}"
    return call


def audited(action):
    return [
        (event.subject, event.details)
        for event in AuditEvent.newest(actor=None, subject=None, action=action, tenant_id=None, limit=50)
    ]


def test_only_operators_read_messages(http, signed):
    row = left()
    for role in ("viewer", "admin", "owner"):
        headers, _ = signed(role)
        for path in ("", f"/{row.id}"):
            answer = http.simulate_get(f"/api/v1/contact/messages{path}", headers=headers)
            assert_envelope(answer, 403, "insufficient_scope")
    assert_envelope(http.simulate_get("/api/v1/contact/messages"), 401)


def test_a_list_is_read_page_by_page_the_newest_first(operator):
    rows = [left(f"{n}@example.com") for n in range(5)]
    found, cursor = [], ""
    while True:
        page = operator("GET", f"?limit=2{cursor}").json
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == [str(row.id) for row in reversed(rows)]


def test_a_list_can_be_narrowed(operator):
    mine, robots = left("Jo@example.com"), left("robot@example.com", is_robot=True)
    operator("POST", f"/{mine.id}/assign", assignee="Ann")

    def ids(query):
        return [item["id"] for item in operator("GET", query).json["items"]]

    assert ids("?state=suppressed") == [str(robots.id)]
    assert ids("?email=jo@EXAMPLE.com") == ids("?assignee=Ann") == ids("?state=assigned") == [str(mine.id)]
    assert operator("GET", "?state=lost").status_code == 422
    assert_envelope(operator("GET", "?cursor=nonsense"), 400, "invalid_cursor")


def test_one_message_has_everything(operator):
    row = left(name="Jo", topic="Shipping")
    body = operator("GET", f"/{row.id}").json
    expected = {"email": "jo@example.com", "name": "Jo", "topic": "Shipping", "message": TEXT, "ip": "192.0.2.7"}
    assert expected.items() <= body.items()
    assert (body["state"], body["company"], body["mailed_at"], body["user_agent"]) == ("open", None, None, "curl/8")


def test_a_message_is_assigned_closed_and_reopened(operator):
    row = left()
    assert operator("POST", f"/{row.id}/assign").json["assignee"] == operator.subject
    closed = operator("POST", f"/{row.id}/close").json
    assert closed["state"] == "closed" and closed["closed_at"]
    assert operator("POST", f"/{row.id}/close").json == closed
    assert_envelope(operator("POST", f"/{row.id}/assign", assignee="Ann"), 409, "contact_message_not_open")
    reopened = operator("POST", f"/{row.id}/reopen").json
    assert (reopened["state"], reopened["closed_at"], reopened["assignee"]) == ("assigned", None, operator.subject)
    assert [subject for subject, _ in audited("contact.")] == [f"contact:{row.id}"] * 3


def test_what_somebody_has_is_only_taken_over_on_purpose(operator):
    row = left()
    operator("POST", f"/{row.id}/assign", assignee="Ann")
    assert operator("POST", f"/{row.id}/assign", assignee=" Ann\n").status_code == 200
    assert_envelope(operator("POST", f"/{row.id}/assign", assignee="Bo"), 409, "contact_message_assigned")
    assert operator("POST", f"/{row.id}/assign", assignee="Bo", take_over=True).json["assignee"] == "Bo"
    assert audited("contact.assigned")[0][1] == {"assignee": "Bo", "before": "Ann"}


def test_of_many_who_take_a_message_at_once_one_gets_it(operator):
    row = left()
    answers = crowd(12, lambda n: operator("POST", f"/{row.id}/assign", assignee=f"Nr. {n}"))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
    [won] = [answer.json["assignee"] for answer in answers if answer.status_code == 200]
    assert ContactMessage.get().assignee == won and len(audited("contact.assigned")) == 1


def test_a_message_that_was_no_robots_is_mailed_once_when_it_is_reopened(operator, jobs_named):
    row = left(is_robot=True)
    for verb in ("assign", "close"):
        assert_envelope(operator("POST", f"/{row.id}/{verb}"), 409, "contact_message_not_open")
    states = {answer.json["state"] for answer in crowd(6, lambda n: operator("POST", f"/{row.id}/reopen"))}
    assert states == {"open"}
    assert [job.args["message_id"] for job in jobs_named("mail.contact")] == [str(row.id)]


def test_an_erased_message_leaves_its_id_in_the_audit_log_alone(operator):
    row, other = left(), left("al@example.com")
    assert operator("DELETE", f"/{row.id}").status_code == 204
    assert_envelope(operator("DELETE", f"/{row.id}"), 404, "contact_message_not_found")
    assert [one.id for one in ContactMessage.select()] == [other.id]
    assert audited("contact.erased") == [(f"contact:{row.id}", {})]
