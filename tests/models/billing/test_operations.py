"""Operations: one change of a subscription at a time, each ends once, and a tenant sees its own."""

from datetime import timedelta

import pytest

from models.auth.tenants import Tenant
from models.billing import operations
from models.billing.operations import BillingOperation, ChangePending, OperationNotFound
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import NoTransaction, transaction
from models.platform.principal import Root
from tests.support.crowd import crowd

BY = Root("test")


def opened(tenant, kind="update", **request):
    with transaction():
        return BillingOperation.open(tenant.id, kind, request, BY)


def ended(operation, end):
    with transaction():
        return end(operation)


def test_of_a_hundred_changes_at_once_one_is_open(tenant):
    def act(number):
        try:
            return opened(tenant, number=number).id
        except ChangePending as refused:
            return refused

    results = crowd(10, lambda n: [act(n * 10 + i) for i in range(10)])
    [winner] = [one for group in results for one in group if not isinstance(one, ChangePending)]
    refused = [one for group in results for one in group if isinstance(one, ChangePending)]
    assert len(refused) == 99 and refused[-1].details == {"operation_id": str(winner), "pending_change": "update"}
    assert [row.id for row in BillingOperation.select()] == [winner]


def test_what_changes_nothing_is_not_exclusive_and_other_tenants_are_not_in_the_way(tenant):
    other = Tenant.create(slug="other", name="Other")
    for kind in ("update", "checkout", "portal", "preview", "preview"):
        opened(tenant, kind)
    opened(other)
    assert BillingOperation.select().count() == 6


def test_after_its_end_the_next_change_may_come(tenant):
    assert ended(opened(tenant), lambda one: one.succeed({"done": True}))
    assert ended(opened(tenant), lambda one: one.fail("card_declined", "No.", {"decline_code": "lost_card"}))
    last = opened(tenant)
    assert BillingOperation.open_change(tenant.id) == last
    with pytest.raises(ChangePending):
        opened(tenant, "cancel")


def test_an_operation_ends_once(tenant):
    operation = opened(tenant)

    def end(number):
        copy = BillingOperation.reload(operation.id)
        return ended(copy, lambda one: one.succeed({"by": number}) if number % 2 else one.fail("no", "No."))

    assert sorted(crowd(8, end)) == [False] * 7 + [True]
    stored = BillingOperation.reload(operation.id)
    assert stored.finished_at and stored.state == ("succeeded" if stored.result else "failed")
    assert AuditEvent.select().where(AuditEvent.action.startswith("billing.update_")).count() == 2  # asked, and its end


def test_a_part_of_a_change_cannot_be_written_alone(tenant):
    with pytest.raises(NoTransaction):
        BillingOperation.open(tenant.id, "update", {}, BY)


def test_a_tenant_finds_its_own_operations_only(tenant, person):
    other = Tenant.create(slug="other", name="Other")
    own, foreign = opened(tenant), opened(other)
    owner = person("owner")
    assert BillingOperation.find(owner, str(own.id)) == own
    for text in (str(foreign.id), "nonsense", ""):
        with pytest.raises(OperationNotFound):
            BillingOperation.find(owner, text)
    with pytest.raises(OperationNotFound):
        BillingOperation.find(person("member"), str(own.id))  # a member has no right to read billing


def test_who_asked_and_what_came_of_it_is_on_record(tenant, person):
    owner = person("owner")
    with transaction():
        operation = BillingOperation.open(tenant.id, "start", {"plan_code": "pro"}, owner)
    ended(operation, lambda one: one.fail("card_declined", "No."))
    asked, failed = AuditEvent.select().order_by(AuditEvent.id)
    assert (asked.action, asked.actor, asked.tenant_id) == ("billing.start_asked", owner.subject, tenant.id)
    assert asked.details == {"operation_id": str(operation.id), "request": {"plan_code": "pro"}}
    assert (failed.action, failed.details["code"]) == ("billing.start_failed", "card_declined")


def test_old_ones_are_purged_and_open_ones_stay(tenant):
    old, fresh, still_open = opened(tenant, "portal"), opened(tenant, "portal"), opened(tenant)
    for operation in (old, fresh):
        ended(operation, lambda one: one.succeed())
    before = now() - timedelta(days=11)
    BillingOperation.update(created_at=before).execute()
    BillingOperation.update(finished_at=before).where(BillingOperation.id == old.id).execute()
    assert BillingOperation.purge(10) == 1
    assert {row.id for row in operations.BillingOperation.listing()} == {fresh.id, still_open.id}
    assert operations.BillingOperation.listing(tenant_id=tenant.id, state="pending", kind="update") == [still_open]
