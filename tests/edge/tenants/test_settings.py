"""GET and PUT /api/v1/tenants/settings."""

import json

import pytest

from models.platform.audit import AuditEvent
from tests.support.crowd import crowd

PATH = "/api/v1/tenants/settings"
CONTACT = {"name": "Jo", "email": "jo@example.com"}
EMPTY = {"billing_contacts": [], "plan_metadata": {}, "flags": {}}


@pytest.fixture
def settings(http, signed):
    """settings() reads; settings(body, if_match) saves, as an admin of the tenant."""
    admin, _ = signed("admin")

    def call(body=None, if_match=None, headers=admin):
        headers = headers | ({} if if_match is None else {"If-Match": if_match})
        if body is None:
            return http.simulate_get(PATH, headers=headers)
        return http.simulate_put(PATH, headers=headers, json=body)

    return call


def saved(answer):
    assert answer.status_code == 200, answer.text
    return answer.json


def test_defaults_are_shown_and_not_stored(settings, tenant):
    from models.tenants.settings import TenantSettings

    defaults = EMPTY | {"tenant_id": str(tenant.id), "billing_webhook_url": None, "updated_at": None}
    answer = settings()
    assert saved(answer) == defaults and answer.headers["ETag"] == '"0"'
    assert TenantSettings.select().count() == 0


def test_a_save_replaces_everything(settings):
    contact = CONTACT | {"role": "CFO", "phone": "+1", "notify_billing": False}
    first = EMPTY | {
        "billing_contacts": [contact],
        "billing_webhook_url": "https://hook.example.com",
        "plan_metadata": {"a": "b"},
        "flags": {"web_search": True},
    }
    found = saved(settings(first))
    assert found["billing_webhook_url"] == "https://hook.example.com/" and found["updated_at"].endswith("Z")
    assert {**found, "tenant_id": 0, "updated_at": 0} == {
        **first,
        "billing_webhook_url": "https://hook.example.com/",
        "tenant_id": 0,
        "updated_at": 0,
    }
    assert saved(settings()) == found
    assert saved(settings(EMPTY))["billing_webhook_url"] is None
    assert saved(settings())["billing_contacts"] == []


def test_texts_are_trimmed(settings):
    contact = {"name": " Jo ", "email": "Jo.Doe@EXAMPLE.com", "role": " ", "phone": " "}
    found = saved(
        settings(
            EMPTY | {"billing_contacts": [contact], "plan_metadata": {" a ": " b ", " ": "x"}, "flags": {"": True}}
        )
    )
    assert found["billing_contacts"] == [
        {"name": "Jo", "email": "Jo.Doe@example.com", "role": None, "phone": None, "notify_billing": True}
    ]
    assert (found["plan_metadata"], found["flags"]) == ({"a": "b"}, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"billing_contacts": [CONTACT] * 11}, "Maximum of 10 billing contacts supported."),
        ({"billing_contacts": [CONTACT | {"name": " "}]}, "Billing contacts require a name."),
        ({"billing_webhook_url": "ftp://example.com/"}, "Webhook URL must include http(s) scheme and host."),
        ({"billing_webhook_url": "mailto:jo@example.com"}, "Webhook URL must include http(s) scheme and host."),
        ({"billing_webhook_url": "https://example.com/" + "x" * 512}, "Webhook URL must have 512 characters at most."),
        ({"billing_webhook_url": "https://127.0.0.1/"}, "Webhook target must be a public HTTPS endpoint."),
        ({"billing_webhook_url": "https://0x7f000001/"}, "Webhook target must be a public HTTPS endpoint."),
        ({"billing_webhook_url": "https://2130706433/"}, "Webhook target must be a public HTTPS endpoint."),
        ({"billing_webhook_url": "https://[::ffff:10.0.0.1]/"}, "Webhook target must be a public HTTPS endpoint."),
        ({"billing_webhook_url": "https://localhost./"}, "Webhook target hostname is not valid."),
        ({"billing_webhook_url": "https://a:b@example.com/"}, "Webhook URL must not contain a user name or password."),
        ({"billing_webhook_url": "https://example.com:6379/"}, "Webhook URL must use port 443 or 8443."),
    ],
)
def test_what_the_rules_refuse(settings, change, message):
    answer = settings(EMPTY | change)
    assert (answer.status_code, answer.json["message"]) == (400, message)
    assert settings().headers["ETag"] == '"0"'


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"billing_contacts": [CONTACT | {"more": 1}]},
        {"billing_contacts": [{"name": "Jo"}]},
        {"billing_contacts": [CONTACT | {"name": ""}]},
        {"billing_contacts": [CONTACT | {"email": "jo"}]},
        {"billing_contacts": [CONTACT | {"email": "jo@example.com\nBcc: x@example.com"}]},
        {"billing_contacts": [CONTACT | {"role": "x" * 65}]},
        {"billing_contacts": None},
        {"billing_webhook_url": ""},
        {"billing_webhook_url": "not a url"},
        {"plan_metadata": {"a": 1}},
        {"plan_metadata": {str(n): "" for n in range(101)}},
        {"plan_metadata": {"a": "x" * 1025}},
        {"flags": {"a": "yes"}},
        {"flags": {"a": 1}},
        {"flags": {"x" * 129: True}},
    ],
)
def test_what_does_not_fit_the_schema(settings, change):
    assert settings(EMPTY | change).status_code == 422


@pytest.mark.parametrize("missing", ["billing_contacts", "plan_metadata", "flags"])
def test_what_is_required(settings, missing):
    assert settings({name: value for name, value in EMPTY.items() if name != missing}).status_code == 422


def test_nobody_overwrites_what_they_have_not_seen(settings):
    seen = settings().headers["ETag"]
    assert settings(EMPTY, seen).headers["ETag"] == '"1"'
    answer = settings(EMPTY | {"flags": {"web_search": True}}, seen)
    assert (answer.status_code, answer.json["error"]) == (412, "settings_changed")
    assert saved(settings())["flags"] == {}
    assert settings(EMPTY, '"7", "1"').headers["ETag"] == '"2"'


@pytest.mark.parametrize(
    ("tag", "status"),
    [("*", 200), ("", 200), ('W/"0"', 412), ('"abc"', 412), ("0", 200), ('"', 412), ('"00000000000"', 412)],
)
def test_other_tags(settings, tag, status):
    assert settings(EMPTY, tag).status_code == status


def test_of_several_saves_at_once_with_the_same_tag_one_succeeds(settings):
    statuses = crowd(6, lambda number: settings(EMPTY | {"flags": {"web_search": number % 2 == 0}}, '"0"').status_code)
    assert sorted(statuses) == [200, 412, 412, 412, 412, 412]


def test_a_save_is_on_record_without_the_path_of_the_webhook(settings, tenant):
    settings(EMPTY | {"billing_webhook_url": "https://hook.example.com/secret", "flags": {"attachments": True}})
    event = AuditEvent.get(AuditEvent.action == "tenant_settings.saved")
    assert (event.subject, event.tenant_id) == (f"tenant:{tenant.id}", tenant.id)
    assert event.details["changed"] == ["billing_webhook_url", "flags"]
    assert event.details["webhook"] == "https://hook.example.com/…"


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_only_admins_read_and_save(settings, signed, role):
    headers, _ = signed(role)
    assert settings(headers=headers).status_code == settings(EMPTY, headers=headers).status_code == 403


def test_tenants_have_their_own(settings, signed):
    from models.auth.tenants import Tenant

    headers, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"))
    settings(EMPTY | {"flags": {"attachments": True}})
    assert saved(settings(headers=headers))["flags"] == {}


def test_what_postgres_cannot_store_is_no_fault_of_ours(http, signed, settings):
    contact = CONTACT | {"name": "J\0o", "role": "\ud800", "phone": "\0"}
    body = EMPTY | {"billing_contacts": [contact], "plan_metadata": {"a\0": "\0b\ud800"}, "flags": {"\0": True}}
    headers = signed("admin")[0] | {"Content-Type": "application/json"}
    assert http.simulate_put(PATH, headers=headers, body=json.dumps(body)).status_code in (200, 422)
    assert settings().status_code == 200
