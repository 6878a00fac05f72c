"""The form to subscribe: the same answer for everybody, and limits."""

import pytest

from models.status.subscriptions import ACTIVE, PENDING, StatusSubscription
from tests.support.status import subscribe

HTML = "text/html; charset=utf-8"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def send(http):
    """send("email=...", **headers) -> the answer."""
    return lambda body, **headers: http.simulate_post("/status/subscribe", body=body, headers={**FORM, **headers})


def test_the_form_makes_a_subscription_that_a_mail_has_to_confirm(send, jobs_named):
    answer = send("email=Jo@Example.com&severity=all&component=api&component=chat")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, HTML)
    assert answer.headers["Cache-Control"] == "no-store" and "Check your mail" in answer.text
    row = StatusSubscription.get()
    assert (row.status, row.severity_filter, row.components, row.tenant_id) == (PENDING, "all", ["api", "chat"], None)
    assert [job.args["subscription_id"] for job in jobs_named("status.confirm")] == [str(row.id)]


@pytest.mark.parametrize("status", [None, PENDING, ACTIVE])
def test_nobody_learns_whether_an_address_is_subscribed(send, status):
    if status:
        subscribe("jo@example.com", status=status)
    known = send("email=jo@example.com")
    other = send("email=nobody@example.com")
    assert (known.status_code, known.text) == (other.status_code, other.text)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("email=", 400),
        ("email=nobody", 400),
        ("email=a@example.com%0d%0aBcc:b@example.com", 400),
        ("email=" + "a" * 400 + "@example.com", 422),
        ("", 400),
        ("severity=all", 400),
        ("email=jo@example.com&severity=none", 422),
        ("email=jo@example.com&component=%22%3E%3Cscript%3E", 422),
        ("email=jo@example.com" + "&component=x" * 200, 422),
        ("&" * 3000, 422),
        ("email=%ff%fe", 422),
        ("email=jo%00@example.com", 422),
        (b"email=\xff", 422),
        ("x" * 2_000_000, 413),
    ],
)
def test_what_is_no_such_form_is_refused_with_a_page(send, clean, body, status):
    answer = send(body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, HTML)
    assert "<script" not in answer.text and StatusSubscription.select().count() == 0


@pytest.mark.parametrize("body", ["email=", "email=+", "severity=all"])
def test_a_form_without_an_address_says_what_is_missing(send, body):
    assert "Write your mail address into the form." in send(body).text


def test_json_is_no_form(send):
    answer = send('{"email": "jo@example.com"}', **{"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (415, HTML)


def test_a_page_elsewhere_cannot_have_its_visitors_subscribe_addresses(send, clean):
    answer = send("email=jo@example.com", **{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"})
    assert answer.status_code == 403 and StatusSubscription.select().count() == 0


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
def test_our_own_page_can(send, clean, site):
    assert send("email=jo@example.com", **{"Sec-Fetch-Site": site}).status_code == 200


def test_who_asks_too_often_is_told_when_to_come_back(send, configure):
    configure(status_subscription_email_rate_limit_per_hour=2)
    statuses = [send(f"email=jo{number}@example.com").status_code for number in range(3)]
    answer = send("email=jo9@example.com")
    assert statuses == [200, 200, 429] and int(answer.headers["Retry-After"]) > 0
    assert (answer.status_code, answer.headers["Content-Type"]) == (429, HTML)


def test_going_back_to_the_answer_leads_to_the_form(http):
    answer = http.simulate_get("/status/subscribe")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/status#subscribe")
