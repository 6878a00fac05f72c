"""Operators list, add and remove addresses that get no mail; nobody else may."""

import pytest

from models.mail import suppressions
from models.mail.suppressions import BOUNCE, COMPLAINT
from models.platform.audit import AuditEvent
from models.platform.database import transaction

PATH = "/api/v1/mail/suppressions"


@pytest.fixture
def operator(signed):
    return signed(operator=True)[0]


@pytest.fixture
def post(http, operator):
    return lambda path="", **body: http.simulate_post(PATH + path, json=body, headers=operator)


@pytest.mark.parametrize("role", ["viewer", "owner"])
def test_tenants_see_and_change_nothing_of_it(http, signed, role):
    headers = signed(role)[0]
    assert http.simulate_get(PATH, headers=headers).status_code == 403
    for path in (PATH, f"{PATH}/remove"):
        assert http.simulate_post(path, json={"address": "jo@example.com"}, headers=headers).status_code == 403


def test_an_operator_suppresses_an_address_and_frees_it(post):
    answer = post(address="Jo@example.com")
    assert answer.status_code == 201
    assert (answer.json["address_masked"], answer.json["reason"]) == ("J***@example.com", "operator")
    assert suppressions.is_suppressed("jo@example.com", security=True)
    assert post(address="jo@example.com").json["id"] == answer.json["id"]
    freed = post("/remove", address="jo@EXAMPLE.com")
    assert (freed.status_code, freed.json["id"]) == (200, answer.json["id"])
    assert not suppressions.is_suppressed("jo@example.com")
    again = post("/remove", address="jo@example.com")
    assert (again.status_code, again.json["error"]) == (404, "mail_suppression_not_found")
    events = AuditEvent.newest(actor=None, subject=None, action="mail_suppression", tenant_id=None, limit=9)
    assert [event.action for event in events] == ["mail_suppression.removed", "mail_suppression.added"]
    assert events[0].details == {"address": "J***@example.com", "suppressed_for": "operator"}


@pytest.mark.parametrize("address", ["jo", "jo@example.com, eve@example.com", "a@b\r\nc: d", "Jo <jo@example.com>"])
def test_what_is_no_address_is_refused(post, address):
    for path in ("", "/remove"):
        answer = post(path, address=address)
        assert answer.status_code in (400, 404, 422), answer.text


def test_the_list_has_pages_and_a_filter(http, operator, post):
    with transaction():
        for number in range(5):
            suppressions.add(f"jo{number}@example.com", BOUNCE if number % 2 else COMPLAINT)
    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = http.simulate_get(PATH, params=params, headers=operator).json
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len({item["id"] for item in seen}) == 5
    assert [item["created_at"] for item in seen] == sorted((item["created_at"] for item in seen), reverse=True)
    bounced = http.simulate_get(PATH, params={"reason": "bounce"}, headers=operator).json["items"]
    assert [item["reason"] for item in bounced] == ["bounce", "bounce"]
    assert "jo1@" not in str(seen)
    assert http.simulate_get(PATH, params={"cursor": "x"}, headers=operator).json["error"] == "invalid_cursor"
