"""Members keep to their tenant, on every route: taken from the route table, so that later routes are tested too."""

import json

import pytest

from edge.openapi import PARAMETER, documented
from edge.routes import routes
from models.auth import service_token_issuing, token_refresh
from models.auth.service_token_issuing import ServiceTokenRequest
from models.auth.service_tokens import ServiceToken
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.conversations.conversation import Conversation, Message
from models.platform.principal import Principal, scopes_for
from models.platform.settings import settings
from models.runs.run import Run
from tests.support.accounts import CHEAP_HASHER

OPERATIONS = [(method, path, operation) for path, method, operation in documented(routes(settings, CHEAP_HASHER))]
# Read by whoever holds the scope, whatever their tenant; their parameters name nothing that a tenant owns.
OF_THE_PLATFORM = ("agent_name", "request_id", "invite_id")
NAMING = [(entry, [name for name, _ in PARAMETER.findall(entry[1])]) for entry in OPERATIONS]
WITH_IDS = [entry for entry, names in NAMING if names and names[0] not in OF_THE_PLATFORM]
LISTS = [entry for entry, names in NAMING if not names and entry[0] == "get" and entry[2].guard]


@pytest.fixture
def theirs(tenant, signed, ask):
    """Rows of another tenant, by the name of the path parameter that addresses them."""
    _, user = signed("owner", tenant=tenant)
    run = ask(Principal(user.id, tenant.id, "owner", frozenset(scopes_for("owner"))), "a secret", "diary")
    request = ServiceTokenRequest("analytics-batch", ["conversations:read"], str(tenant.id))
    token, _ = service_token_issuing.issue(request, by="test")
    session = Session.get(Session.user == user.id)
    return {"conversation_id": "diary", "run_id": str(run.id), "session_id": str(session.id), "jti": str(token.id)}


def rows():
    """All that a stranger might spoil."""
    return [
        list(model.select().order_by(model.id).dicts()) for model in (Conversation, Message, Run, Session, ServiceToken)
    ]


@pytest.mark.parametrize(("method", "path", "operation"), WITH_IDS)
def test_ids_of_another_tenant_are_unknown_and_nothing_happens_to_them(http, signed, theirs, method, path, operation):
    stranger, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"), operator=True)
    before = rows()
    answer = http.simulate_request(
        method.upper(), PARAMETER.sub(lambda found: theirs[found[1]], path), headers=stranger, json={}
    )
    assert answer.status_code == 404, answer.text
    assert rows() == before


@pytest.mark.parametrize(("method", "path", "operation"), LISTS)
def test_no_list_names_what_is_another_tenants(http, signed, theirs, tenant, method, path, operation):
    stranger, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"), operator=True)
    answer = http.simulate_get(path, headers=stranger)
    assert answer.status_code == 200
    for value in (*theirs.values(), str(tenant.id), "a secret"):
        assert value not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "operation"), [entry for entry in OPERATIONS if entry[2].guard and entry[2].guard.role]
)
def test_naming_another_tenant_in_a_header_opens_nothing(http, signed, theirs, tenant, method, path, operation):
    stranger, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"))
    before = rows()
    answer = http.simulate_request(
        method.upper(),
        PARAMETER.sub(lambda found: theirs[found[1]], path),
        headers={**stranger, "X-Tenant-Id": str(tenant.id)},
        json={},
    )
    assert answer.status_code == 403, answer.text
    assert rows() == before


@pytest.mark.parametrize("lowered", ["viewer", "member", "admin"])
@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [entry for entry in OPERATIONS if entry[2].guard and entry[2].guard.role in ("admin", "owner")],
)
def test_a_role_that_was_lowered_is_as_low_as_it_says(http, signed, theirs, method, path, operation, lowered):
    headers, _ = signed("owner")
    answer = http.simulate_request(
        method.upper(),
        PARAMETER.sub("01a20ac7-784f-712d-8112-15c292557957", path),
        headers={**headers, "X-Tenant-Role": lowered},
        json={},
    )
    allowed = Principal(None, None, lowered).has_role(operation.guard.role)
    assert (answer.status_code == 403) is not allowed, answer.text


def test_what_a_machine_may_call_is_said_by_the_route_table(http, theirs, tenant):
    request = ServiceTokenRequest("billing-worker", ["billing:read"], str(tenant.id))
    _, refresh_token = service_token_issuing.issue(request, by="test")
    bearer = {"Authorization": f"Bearer {token_refresh.refresh(refresh_token).access_token}"}
    refused = set()
    for method, path, operation in OPERATIONS:
        if operation.guard and operation.guard.people:
            answer = http.simulate_request(method.upper(), PARAMETER.sub(str(tenant.id), path), headers=bearer, json={})
            assert answer.status_code == 401, (path, answer.text)
            assert answer.json["message"] == "Token subject must reference a user account."
            refused.add(path)
    assert {"/api/v1/auth/me", "/api/v1/auth/password/change", "/api/v1/auth/service-accounts/tokens"} <= refused
    assert json.loads(http.simulate_get("/api/v1/agents", headers=bearer).text)["error"] == "insufficient_scope"
