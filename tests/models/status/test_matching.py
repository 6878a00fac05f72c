"""Which subscriptions an update reaches."""

import pytest

from models.auth.tenants import Tenant
from models.platform.ids import uuid7
from models.status.deliveries import EVERYBODY, PUBLIC, TENANT
from models.status.matching import matching
from models.status.subscriptions import ACTIVE, DISABLED, PENDING, REVOKED, StatusSubscription


def add(severity="major", *components, status=ACTIVE, **columns):
    return StatusSubscription.create(
        channel="email",
        target_hash=uuid7().hex,
        target_masked="a***@example.com",
        creator="public",
        severity_filter=severity,
        components=list(components),
        status=status,
        **columns,
    )


def found(severity="major", services=("api",), scope=EVERYBODY, **more):
    return [row.id for row in matching(severity, services, scope, **more)]


@pytest.mark.parametrize(
    ("severity", "reached"),
    [
        ("minor", {"all"}),
        ("major", {"all", "major"}),
        ("critical", {"all", "major"}),
        ("maintenance", {"all", "maintenance"}),
        ("all", {"all", "major", "maintenance"}),
    ],
)
def test_filters_let_severities_through(clean, severity, reached):
    rows = {add(name).id: name for name in ("all", "major", "maintenance")}
    assert {rows[row_id] for row_id in found(severity)} == reached


def test_components_narrow_it_and_none_means_all(clean):
    every, api, both, chat = add(), add("major", "api"), add("major", "chat", "api"), add("major", "chat")
    assert found(services=["api"]) == [every.id, api.id, both.id]
    assert found(services=["storage", "chat"]) == [every.id, both.id, chat.id]
    assert found(services=["storage"]) == [every.id]
    assert found(services=[]) == [every.id, api.id, both.id, chat.id]


def test_only_active_ones_are_reached(clean):
    for status in (PENDING, REVOKED, DISABLED):
        add(status=status)
    assert found() == []


def test_scopes(tenant):
    other = Tenant.create(slug="other", name="Other")
    public, ours, theirs = add(), add(tenant_id=tenant.id), add(tenant_id=other.id)
    assert found(scope=EVERYBODY) == [public.id, ours.id, theirs.id]
    assert found(scope=PUBLIC) == [public.id]
    assert found(scope=TENANT, tenant_id=tenant.id) == [ours.id]


def test_batches_continue_after_the_last_one(clean):
    rows = [add().id for _ in range(5)]
    assert found(limit=2) == rows[:2]
    assert found(limit=2, after=rows[1]) == rows[2:4]
    assert found(limit=2, after=rows[4]) == []
