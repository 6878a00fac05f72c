"""Tenants cannot see or change each other's rows, on every route of the table."""

from collections import defaultdict

import pytest

from edge.openapi import PARAMETER
from models.auth import service_token_issuing, token_refresh
from models.auth.service_token_issuing import ServiceTokenRequest
from models.auth.service_tokens import ServiceToken
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.billing.operations import BillingOperation
from models.containers.bindings import ContainerBinding
from models.containers.container import Container
from models.conversations.conversation import Conversation, Message
from models.platform.authorization import STATUS_OPERATE
from models.platform.database import transaction
from models.platform.principal import Principal, Root
from models.runs.approvals import Approval
from models.runs.run import Run
from models.status.deliveries import Fanout, StatusDelivery
from models.status.subscriptions import StatusSubscription
from models.storage.objects import StorageObject
from models.vector_stores.files import VectorStoreFile
from models.vector_stores.stores import VectorStore
from tests.support.approvals import wait
from tests.support.routes import (
    ADMIN_ONLY,
    ALWAYS_GONE,
    TENANT_ONLY,
    UNKNOWN_ID,
    USERS_ONLY,
    WITH_PARAMETER,
    WITHOUT_PARAMETER,
    fill,
    minimal_body,
)
from tests.support.status import incident
from tests.support.storage import object_by

# Parameters that name nothing of a tenant's: any caller with the scope may read them.
PLATFORM_PARAMETERS = {
    "agent_name",
    "workflow_key",
    "request_id",
    "invite_id",
    "event_id",
    "agent_key",
    "incident_id",
    "message_id",
}
# Operators of the status reach all tenants' rows: who they are is tested with the actions.
FOR_TENANTS = [entry for entry in WITH_PARAMETER if entry[2].action is not STATUS_OPERATE]
WITH_TENANT_ID = [
    entry for entry in FOR_TENANTS if PLATFORM_PARAMETERS.isdisjoint(name for name, _ in PARAMETER.findall(entry[1]))
]
LISTS = [
    (method, path, operation)
    for method, path, operation in WITHOUT_PARAMETER
    if method == "get"
    and not operation.action.public
    and not operation.streams
    and operation.action is not STATUS_OPERATE
]


def issue_token(tenant, account, scope):
    return service_token_issuing.issue(ServiceTokenRequest(account, [scope], str(tenant.id)), by=Root("test"))


@pytest.fixture
def victim_ids(tenant, signed, ask_as):
    """Ids of one tenant's rows, by the name of the path parameter that takes them."""
    _, user = signed("owner", tenant=tenant)
    run, [approval] = wait(ask_as(user, "a secret", "diary", role="owner"))
    token, _ = issue_token(tenant, "analytics-batch", "conversations:read")
    session = Session.get(Session.user_id == user.id)
    with transaction():
        operation = BillingOperation.open(tenant.id, "portal", {}, "user:test")
    stored = object_by(None, tenant, conversation_id=run.conversation_id)
    container = Container.create(tenant_id=tenant.id, name="secret", memory_limit="1g", status="running")
    store = VectorStore.create(tenant_id=tenant.id, name="secret", status="completed", engine="pgvector")
    file_id = f"file-{stored.id.hex}"
    VectorStoreFile.create(
        tenant_id=tenant.id, vector_store_id=store.id, file_id=file_id, object_id=stored.id, filename="secret.txt"
    )
    subscription = StatusSubscription.create(
        tenant_id=tenant.id, channel="webhook", target_hash="a", target_masked="secret", status="active", creator="a"
    )
    _, update = incident()
    fanout = Fanout.create(update_id=update.id, severity="all", creator="user:1")
    delivery = StatusDelivery.create(
        tenant_id=tenant.id,
        fanout_id=fanout.id,
        update_id=update.id,
        subscription_id=subscription.id,
        channel="webhook",
        host="a.example",
    )
    ids = {
        "subscription_id": subscription.id,
        "delivery_id": delivery.id,
        "incident_id": "unknown",  # incidents belong to nobody
        "object_id": stored.id,
        "container_id": container.id,
        "vector_store_id": store.id,
        "run_id": run.id,
        "session_id": session.id,
        "jti": token.id,
        "operation_id": operation.id,
    }
    return {
        "conversation_id": "diary",
        "tenant_id": str(tenant.id),
        "call_id": approval.call_id,
        "file_id": file_id,
        **{name: str(row_id) for name, row_id in ids.items()},
    }


@pytest.fixture
def other_tenant(tenant):
    return Tenant.create(slug="other", name="Other")


def all_rows():
    """Every row that a stranger must not change."""
    models = (Approval, BillingOperation, Conversation, Message, Run, Session, ServiceToken, StorageObject)
    models += (Container, ContainerBinding, StatusDelivery, StatusSubscription, VectorStore, VectorStoreFile)
    return [list(model.select().order_by(model.id).dicts()) for model in models]


@pytest.mark.parametrize(("method", "path", "operation"), WITH_TENANT_ID)
def test_another_tenants_id_is_refused_and_changes_nothing(
    http, signed, victim_ids, other_tenant, method, path, operation
):
    stranger, _ = signed("owner", tenant=other_tenant, operator=True)
    before = all_rows()
    answer = http.simulate_request(
        method.upper(), fill(path, victim_ids), headers=stranger, json=minimal_body(operation)
    )
    missing = 204 if (method, path) in ALWAYS_GONE else 404
    assert answer.status_code == (403 if "{tenant_id}" in path else missing), answer.text
    assert all_rows() == before


@pytest.mark.parametrize(("method", "path", "operation"), LISTS)
def test_a_list_shows_nothing_of_another_tenant(
    http, signed, victim_ids, tenant, other_tenant, method, path, operation
):
    stranger, _ = signed("owner", tenant=other_tenant, operator=True)
    answer = http.simulate_get(path, headers=stranger, params={"q": "secret"})  # what a search needs
    assert answer.status_code == 200
    for value in (*victim_ids.values(), str(tenant.id), "a secret"):
        assert value not in answer.text


@pytest.mark.parametrize(("method", "path", "operation"), TENANT_ONLY)
def test_another_tenant_in_the_header_is_a_403_and_changes_nothing(
    http, signed, victim_ids, tenant, other_tenant, method, path, operation
):
    stranger, _ = signed("owner", tenant=other_tenant)
    headers = {**stranger, "X-Tenant-Id": str(tenant.id)}
    before = all_rows()
    answer = http.simulate_request(
        method.upper(),
        fill(path, {"workflow_key": "analysis_code", "agent_key": "triage", **victim_ids}),
        headers=headers,
        json={},
    )
    assert answer.status_code == 403, answer.text
    assert all_rows() == before


@pytest.mark.parametrize("role", ["viewer", "member", "admin"])
@pytest.mark.parametrize(("method", "path", "operation"), ADMIN_ONLY)
def test_a_lowered_role_has_only_the_rights_of_that_role(http, signed, victim_ids, method, path, operation, role):
    headers, _ = signed("owner")
    ids = defaultdict(lambda: UNKNOWN_ID, tenant_id=victim_ids["tenant_id"])
    headers = {**headers, "X-Tenant-Role": role}
    answer = http.simulate_request(method.upper(), fill(path, ids), headers=headers, json={})
    allowed = Principal(None, None, role).has_role(operation.action.role)
    assert (answer.status_code == 403) is not allowed, answer.text


def test_some_operations_are_for_users_only():
    paths = {path for _, path, _ in USERS_ONLY}
    assert {"/api/v1/auth/me", "/api/v1/auth/password/change", "/api/v1/auth/service-accounts/tokens"} <= paths


def test_a_service_account_may_not_call_what_is_for_users_only(http, tenant):
    _, refresh_token = issue_token(tenant, "billing-worker", "billing:read")
    headers = {"Authorization": f"Bearer {token_refresh.refresh(refresh_token).access_token}"}
    for method, path, _ in USERS_ONLY:
        answer = http.simulate_request(method.upper(), fill(path, str(tenant.id)), headers=headers, json={})
        assert answer.status_code == 401, (path, answer.text)
        assert answer.json["message"] == "Token subject must reference a user account."
    assert http.simulate_get("/api/v1/agents", headers=headers).json["error"] == "insufficient_scope"
