"""Flags of tenants: which there are, who sets them, and that they hold."""

import pytest

from models.tenants import flags
from models.tenants.settings import TenantSettings
from tests.support.routes import assert_envelope
from tests.support.storage import object_by

EMPTY = {"billing_contacts": [], "plan_metadata": {}, "flags": {}}


@pytest.fixture
def save(http, signed):
    headers, _ = signed("admin")
    return lambda **values: http.simulate_put(
        "/api/v1/tenants/settings", json=EMPTY | {"flags": values}, headers=headers
    )


@pytest.fixture
def listed(http, signed):
    headers, _ = signed("admin")

    def get():
        items = http.simulate_get("/api/v1/tenants/settings/flags", headers=headers).json["items"]
        return {item["name"]: (item["value"], item["is_default"]) for item in items}

    return get


def test_a_flag_has_its_default_until_it_is_saved(save, listed):
    assert listed() == dict.fromkeys(flags.FLAGS, (True, True))
    assert save(web_search=False).status_code == 200
    assert listed() == {**dict.fromkeys(flags.FLAGS, (True, True)), "web_search": (False, False)}
    assert save().status_code == 200
    assert listed()["web_search"] == (True, True)


def test_an_unknown_flag_is_refused_with_the_known_ones(save, tenant):
    save(web_search=False)
    answer = save(web_search=True, beta=True)
    assert_envelope(answer, 400, "flag_unknown")
    assert answer.json["details"] == {"flag": "beta", "known": sorted(flags.FLAGS)}
    assert TenantSettings.of_tenant(tenant.id).flags == {"web_search": False}


def test_a_flag_from_before_the_catalogue_stays_readable_and_can_be_saved_or_dropped(save, listed, tenant):
    TenantSettings.create(tenant_id=tenant.id, flags={"beta": True})
    answer = save(beta=False, web_search=False)
    assert answer.status_code == 200 and answer.json["flags"] == {"beta": False, "web_search": False}
    assert "beta" not in listed()
    assert save().json["flags"] == {}
    assert_envelope(save(beta=True), 400, "flag_unknown")


def test_without_attachments_a_message_has_none(http, signed, save, tenant):
    headers, _ = signed("member")
    body = {"message": "Look", "attachments": [str(object_by(None, tenant).id)]}
    save(attachments=False)
    answer = http.simulate_post("/api/v1/chat/stream", json=body, headers=headers)
    assert_envelope(answer, 403, "flag_off")
    assert answer.json["details"] == {"flag": "attachments"}


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_only_admins_list_flags(http, signed, role):
    headers, _ = signed(role)
    assert_envelope(http.simulate_get("/api/v1/tenants/settings/flags", headers=headers), 403, "insufficient_role")
