"""Pages to which links in mails lead: GET shows a button, POST acts, and nothing of the link is kept."""

from datetime import timedelta

import peewee
import pytest

from edge.pages import POLICY
from models.platform.clock import now
from models.platform.ids import uuid7
from models.status import tokens
from models.status.subscriptions import ACTIVE, EMAIL, PENDING, REVOKED, StatusSubscription, stored

ONE_CLICK = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://mail.example"}
HTML = "text/html; charset=utf-8"


@pytest.fixture
def subscription(clean):
    """subscription(status=PENDING) -> a row of the public."""

    def make(status=PENDING):
        columns = {"channel": EMAIL, "target_masked": "j***@example.com", "creator": "public", "status": status}
        return StatusSubscription.create(**columns, **stored(EMAIL, f"{uuid7().hex}@example.com"))

    return make


def confirming(row, minutes=60):
    token = tokens.create(tokens.CONFIRM, row.id, now() + timedelta(minutes=minutes), "all", ["api"])
    return {"subscription_id": str(row.id), "token": token}


def ending(row):
    return {"subscription_id": str(row.id), "token": tokens.unsubscribing(row.id)}


def state(row):
    return StatusSubscription.get_by_id(row.id).status


@pytest.mark.parametrize(("path", "params"), [("confirm", confirming), ("unsubscribe", ending)])
def test_a_link_that_a_mail_scanner_opens_changes_nothing_and_shows_a_button(http, subscription, path, params):
    row = subscription()
    answer = http.simulate_get(f"/status/{path}", params=params(row))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, HTML)
    assert 'method="post"' in answer.text and "<button" in answer.text
    assert http.simulate_head(f"/status/{path}", params=params(row)).status_code == 200
    assert state(row) == PENDING


@pytest.mark.parametrize("path", ["confirm", "unsubscribe"])
def test_a_page_with_a_token_is_kept_nowhere_and_tells_nobody_where_it_was(http, subscription, path):
    answer = http.simulate_get(f"/status/{path}", params=ending(subscription()))
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers


def test_the_button_confirms_as_often_as_it_is_pressed(http, subscription):
    row = subscription()
    for _ in range(3):
        answer = http.simulate_post("/status/confirm", params=confirming(row))
        assert answer.status_code == 200 and "You are subscribed" in answer.text
    found = StatusSubscription.get_by_id(row.id)
    assert (found.status, found.severity_filter, found.components) == (ACTIVE, "all", ["api"])


def test_a_link_that_has_expired_says_what_to_do(http, subscription):
    row = subscription()
    answer = http.simulate_post("/status/confirm", params=confirming(row, minutes=-1))
    assert answer.status_code == 410 and "Subscribe again" in answer.text
    assert state(row) == PENDING


def test_what_was_ended_cannot_be_confirmed(http, subscription):
    row = subscription(REVOKED)
    answer = http.simulate_post("/status/confirm", params=confirming(row))
    assert answer.status_code == 410 and "was ended" in answer.text
    assert state(row) == REVOKED


@pytest.mark.parametrize("status", [PENDING, ACTIVE])
@pytest.mark.parametrize("body", ["List-Unsubscribe=One-Click", "", "confirm=1"])
def test_one_click_ends_it_without_a_login_as_often_as_it_is_sent(http, subscription, status, body):
    row = subscription(status)
    for _ in range(3):
        answer = http.simulate_post("/status/unsubscribe", params=ending(row), body=body, headers=ONE_CLICK)
        assert answer.status_code == 200 and "Location" not in answer.headers
    assert state(row) == REVOKED
    assert StatusSubscription.get_by_id(row.id).target_encrypted is None


def test_one_click_may_be_sent_as_a_form_of_several_parts(http, subscription):
    row = subscription(ACTIVE)
    body = '--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert http.simulate_post("/status/unsubscribe", params=ending(row), body=body, headers=headers).status_code == 200
    assert state(row) == REVOKED


def test_the_token_of_another_subscription_ends_nothing(http, subscription):
    mine, other = subscription(ACTIVE), subscription(ACTIVE)
    params = {"subscription_id": str(other.id), "token": tokens.unsubscribing(mine.id)}
    assert http.simulate_post("/status/unsubscribe", params=params).status_code == 404
    assert (state(mine), state(other)) == (ACTIVE, ACTIVE)


def test_the_token_of_one_purpose_is_of_no_use_for_another(http, subscription):
    row = subscription()
    for path, params in (("confirm", ending(row)), ("unsubscribe", confirming(row))):
        assert http.simulate_post(f"/status/{path}", params=params).status_code == 404
    assert state(row) == PENDING


HOSTILE = [
    {},
    {"token": ""},
    {"subscription_id": "x", "token": "y"},
    {"token": "\0", "subscription_id": str(uuid7())},
    {"token": "é" * 100, "subscription_id": str(uuid7())},
    {"token": "a.b", "subscription_id": str(uuid7())},
    {"token": "x" * 20_000, "subscription_id": str(uuid7())},
    {"token": "<script>alert(1)</script>", "subscription_id": '"><img src=x>'},
]


@pytest.mark.parametrize("params", HOSTILE)
@pytest.mark.parametrize("path", ["confirm", "unsubscribe"])
def test_a_broken_link_is_answered_with_a_page_that_repeats_nothing(http, path, params):
    answer = http.simulate_post(f"/status/{path}", params=params)
    assert (answer.status_code in (400, 404), answer.headers["Content-Type"]) == (True, HTML)
    assert "<script" not in answer.text and "<img" not in answer.text
    shown = http.simulate_get(f"/status/{path}", params=params)
    assert shown.status_code in (200, 400)
    assert "<script" not in shown.text and "<img" not in shown.text


def test_a_body_that_is_too_large_is_refused_before_anything_is_done(http, subscription):
    row = subscription(ACTIVE)
    answer = http.simulate_post("/status/unsubscribe", params=ending(row), body="x" * 5_000_000)
    assert (answer.status_code, answer.headers["Content-Type"]) == (413, HTML)
    assert state(row) == ACTIVE


@pytest.mark.parametrize("path", ["confirm", "unsubscribe"])
def test_no_token_gets_into_the_logs(http, subscription, caplog, path):
    row = subscription()
    params = confirming(row) if path == "confirm" else ending(row)
    http.simulate_get(f"/status/{path}", params=params)
    http.simulate_post(f"/status/{path}", params=params)
    assert caplog.text.count(f"/status/{path}") == 2
    assert params["token"] not in caplog.text


def test_without_a_database_the_page_says_that_it_is_not_possible_now(http, subscription, monkeypatch):
    def fail(*_):
        raise peewee.OperationalError("gone")

    row = subscription()
    monkeypatch.setattr("models.status.subscribing.confirm", fail)
    answer = http.simulate_post("/status/confirm", params=confirming(row))
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, HTML)
    assert "gone" not in answer.text
