"""The rows of a tenant are only reached through `visible_to`, which fails closed."""

import importlib
import pkgutil

import pytest

import models
from models.auth.service_tokens import ServiceToken
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.auth.users import Membership
from models.billing.customers import BillingCustomer
from models.billing.events import InboxEvent
from models.billing.invoices import Invoice
from models.billing.notices import Delivery, Notice
from models.billing.operations import BillingOperation
from models.billing.subscription import Subscription
from models.containers.bindings import ContainerBinding
from models.containers.container import Container
from models.conversations.conversation import Conversation
from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.authorization import may
from models.platform.clock import now
from models.platform.database import NoTransaction, in_transaction, transaction
from models.platform.ids import uuid7
from models.platform.model import Model, TenantModel
from models.platform.principal import Principal
from models.runs.approvals import Approval
from models.runs.run import Run
from models.status.deliveries import Fanout, StatusDelivery
from models.status.incidents import Incident, Update
from models.status.subscriptions import StatusSubscription
from models.storage.buckets import Bucket
from models.storage.objects import StorageObject
from models.tenants.settings import TenantSettings
from models.vector_stores.files import ProviderFile, VectorStoreFile
from models.vector_stores.stores import VectorStore

for module in pkgutil.walk_packages(models.__path__, "models."):
    if not module.name.endswith("__main__") and "migrations" not in module.name:
        importlib.import_module(module.name)

# Models with a tenant that no tenant's route lists: reached by their user, or by the platform's operators alone.
REACHED_OTHERWISE = {Membership, Session, Job, AuditEvent, BillingCustomer, Bucket, Fanout}
# What a member sees of a tenant, given their own row and all rows.
MEMBER_SEES = {
    Approval: lambda own, both: {own},
    Container: lambda own, both: both,
    ContainerBinding: lambda own, both: both,
    Conversation: lambda own, both: {own},
    ProviderFile: lambda own, both: both,
    StatusDelivery: lambda own, both: set(),  # admins only
    StatusSubscription: lambda own, both: set(),
    StorageObject: lambda own, both: both,
    VectorStore: lambda own, both: both,
    VectorStoreFile: lambda own, both: both,
    BillingOperation: lambda own, both: set(),  # those who may read billing
    InboxEvent: lambda own, both: set(),
    Invoice: lambda own, both: set(),
    Subscription: lambda own, both: set(),
    Notice: lambda own, both: set(),
    Delivery: lambda own, both: set(),
    TenantSettings: lambda own, both: set(),
    Run: lambda own, both: {own},
    ServiceToken: lambda own, both: set(),  # admins only
}


def _update():
    incident = Incident.create(slug=str(uuid7()), title="a", impact="a")
    update = Update.create(incident_id=incident.id, state="investigating", text="a", creator="a")
    return {"update_id": update.id, "fanout_id": Fanout.create(update_id=update.id, severity="major", creator="a").id}


def _subscription():
    return StatusSubscription.create(channel="email", target_hash=uuid7().hex, target_masked="a", creator="a")


ONE_EACH = {Subscription, TenantSettings}  # of which a tenant has one row
REQUIRED = {
    Approval: lambda: {
        "run_id": Run.create(tenant_id=Tenant.get().id, agent="triage", conversation_key="c").id,
        "job_id": uuid7(),
        "number": 1,
        "call_id": "call_1",
        "tool_name": "a",
        "arguments": {},
        "digest": "d",
        "reason": "tool",
        "expires_at": now(),
    },
    BillingOperation: lambda: {"actor": "a", "kind": "portal", "is_change": False},
    Container: lambda: {"name": str(uuid7()), "memory_limit": "1g"},
    ContainerBinding: lambda: {
        "agent_key": uuid7().hex,
        "container_id": Container.create(tenant_id=Tenant.get().id, name=str(uuid7()), memory_limit="1g").id,
    },
    Conversation: lambda: {"key": str(uuid7()), "entry_agent": "triage"},
    InboxEvent: lambda: {"source": "stripe", "external_id": str(uuid7()), "type": "a", "occurred_at": now()},
    ProviderFile: lambda: {"provider_file_id": str(uuid7()), "filename": "a.txt"},
    StatusDelivery: lambda: {**_update(), "subscription_id": _subscription().id, "channel": "email", "host": "mail"},
    StatusSubscription: lambda: {"channel": "email", "target_hash": uuid7().hex, "target_masked": "a", "creator": "a"},
    StorageObject: lambda: {
        "bucket": "b",
        "object_key": str(uuid7()),
        "filename": "a.txt",
        "mime_type": "text/plain",
        "size_bytes": 1,
    },
    VectorStore: lambda: {"name": str(uuid7()), "status": "completed", "engine": "pgvector"},
    VectorStoreFile: lambda: {
        "vector_store_id": VectorStore.create(
            tenant_id=Tenant.get().id, name=str(uuid7()), status="completed", engine="pgvector"
        ).id,
        "file_id": str(uuid7()),
        "filename": "a.txt",
    },
    Invoice: lambda: {
        "stripe_invoice_id": str(uuid7()),
        "status": "paid",
        "currency": "USD",
        "total_cents": 1,
        "amount_due_cents": 1,
        "amount_paid_cents": 1,
        "issued_at": now(),
        "as_of": now(),
        "rank": 1,
        "event_id": "e",
    },
    Subscription: lambda: {"plan_code": "starter", "status": "active"},
    Notice: lambda: {"kind": "limit_80", "key": str(uuid7())},
    Delivery: lambda: {"channel": "webhook"},
    TenantSettings: dict,
    Run: lambda: {"conversation_key": "c", "agent": "triage"},
    ServiceToken: lambda: {
        "account": "a",
        "scopes": [],
        "scope_key": str(uuid7()),
        "token_hash": "h",
        "signing_kid": "k",
        "issued_by": "test",
        "expires_at": now(),
    },
}


def descendants(model):
    for child in model.__subclasses__():
        yield child
        yield from descendants(child)


ALL = set(descendants(Model)) - {TenantModel}
SCOPED = sorted((model for model in ALL if issubclass(model, TenantModel)), key=lambda model: model.__name__)


def test_every_model_with_a_tenant_is_a_tenant_model():
    with_tenant = {model for model in ALL if "tenant_id" in model._meta.columns}
    assert with_tenant - REACHED_OTHERWISE == set(SCOPED)


@pytest.mark.parametrize("model", SCOPED)
def test_the_owner_is_the_only_user_column_of_a_model(model):
    users = [name for name in model._meta.columns if name.endswith("user_id")]
    assert users == ([model.owner] if model.owner else [])


def test_a_model_that_does_not_declare_its_owner_is_refused():
    with pytest.raises(TypeError, match="must declare `owner`"):
        type("Forgetful", (TenantModel,), {"owner": None})


@pytest.mark.parametrize("model", SCOPED)
def test_members_see_their_own_rows_and_admins_all_of_the_tenant(model, person):
    ours, colleague = person("member"), person("member")
    admin = person("admin")
    theirs = person("owner", tenant=Tenant.create(slug="other", name="Other"))
    rows = {principal: make(model, principal) for principal in (ours, colleague, theirs)}
    seen = {
        principal: {row.id for row in model.visible_to(principal)} for principal in (ours, colleague, admin, theirs)
    }
    both = {rows[ours], rows[colleague]}
    assert seen[admin] == both and seen[theirs] == {rows[theirs]}
    assert seen[ours] == MEMBER_SEES[model](rows[ours], both)


@pytest.mark.parametrize("model", SCOPED)
def test_callers_without_a_tenant_or_a_user_see_no_rows(model, person):
    make(model, person("member"))
    assert not list(model.visible_to(Principal(uuid7(), None, role="owner")))
    assert not list(model.visible_to(Principal(None, None, account="machine")))
    if model.owner:
        tenant_id = person("member").tenant_id
        assert not list(model.visible_to(Principal(None, tenant_id, scopes=model.reading.scopes, email_verified=True)))


@pytest.mark.parametrize("model", [model for model in SCOPED if model.reading.machines])
def test_a_machine_sees_its_tenant_if_its_scopes_let_it_read(model, person):
    row = make(model, person("member"))
    tenant_id = model.get_by_id(row).tenant_id

    def seen(*scopes):
        machine = Principal(None, tenant_id, scopes=frozenset(scopes), email_verified=True, account="machine")
        return [found.id for found in model.visible_to(machine)]

    assert (seen(model.reading.scope), seen("conversations:write", "tools:read"), seen()) == ([row], [], [])


@pytest.mark.parametrize("model", SCOPED)
def test_a_right_to_one_row_is_the_right_to_find_it(model, person):
    callers = [person(role) for role in ("viewer", "member", "admin")]
    callers += [person("owner", tenant=Tenant.create(slug="other", name="Other"))]
    rows = [model.get_by_id(make(model, caller)) for caller in callers]
    for caller in callers:
        found = {row.id for row in model.visible_to(caller)}
        assert found == {row.id for row in rows if may(caller, model.reading, row)}


def make(model, principal):
    if model in ONE_EACH and (row := model.get_or_none(model.tenant_id == principal.tenant_id)):
        return row.id
    columns = {model.owner: principal.user_id} if model.owner else {}
    return model.create(tenant_id=principal.tenant_id, **columns, **REQUIRED[model]()).id


@in_transaction
def half_a_change():
    return "written"


def test_a_function_that_needs_a_transaction_raises_outside_one(clean):
    with pytest.raises(NoTransaction, match="half_a_change"):
        half_a_change()
    with transaction():
        assert half_a_change() == "written"
