"""Who sees which object, and how many bytes a tenant has."""

import threading

import pytest
from minio.helpers import check_bucket_name
from pydantic import ValidationError

from models.auth.tenants import Tenant
from models.conversations.conversation import Conversation
from models.platform.database import database, release, transaction
from models.platform.ids import uuid7
from models.platform.settings import Settings
from models.storage import limits
from models.storage.limits import StorageFull
from models.storage.names import bucket_of
from models.storage.objects import ObjectNotFound, ObjectNotReady, StorageObject
from tests.support.storage import object_by


def conversation_of(ask, principal):
    return Conversation.get_by_id(ask(principal).conversation_id)


def sees(principal, row):
    return StorageObject.visible_to(principal).where(StorageObject.id == row.id).exists()


@pytest.mark.parametrize(("role", "is_seen"), [("viewer", False), ("member", False), ("admin", True), ("owner", True)])
def test_an_object_of_anothers_conversation_is_for_those_who_may_read_that(ask, person, tenant, role, is_seen):
    author = person()
    row = object_by(author, tenant, conversation_id=conversation_of(ask, author).id)
    assert sees(author, row)
    assert sees(person(role), row) is is_seen


@pytest.mark.parametrize("role", ["viewer", "member", "admin"])
def test_an_object_without_a_conversation_is_for_the_whole_tenant_and_nobody_else(person, tenant, role):
    row, other = object_by(person(), tenant), Tenant.create(slug="other", name="Other")
    assert sees(person(role), row)
    assert not sees(person(role, tenant=other), row)


def test_found_ready_and_of_a_tenant(person, tenant):
    caller = person()
    row, waiting = object_by(caller, tenant), object_by(caller, tenant, status="pending_upload")
    assert StorageObject.find(caller, row.id) == StorageObject.ready_for(caller, row.id) == row
    assert StorageObject.of_tenant(tenant.id, row.id) == row
    for call in (
        lambda: StorageObject.ready_for(caller, waiting.id),
        lambda: StorageObject.of_tenant(tenant.id, waiting.id),
    ):
        with pytest.raises(ObjectNotReady) as failure:
            call()
        assert failure.value.details == {"object_id": str(waiting.id), "status": "pending_upload", "reason": None}
    for call in (lambda: StorageObject.of_tenant(uuid7(), row.id), lambda: StorageObject.find(caller, uuid7())):
        with pytest.raises(ObjectNotFound):
            call()


def test_bytes_are_counted_beyond_32_bits_and_without_what_is_gone(person, tenant):
    for status in ("ready", "pending_upload", "rejected"):
        object_by(None, tenant, size_bytes=3 * 2**31, status=status)
    object_by(None, tenant, size_bytes=7, status="deleted", deleted_at=person and "2026-01-01T00:00:00Z")
    assert limits.used_bytes(tenant.id) == 6 * 2**31


def test_the_plan_says_how_many_bytes_and_else_the_setting(subscribed, limited, tenant, configure):
    configure(storage_max_total_bytes=100)
    assert limits.total_limit(tenant.id) == 100
    subscribed()
    limited(limits.TOTAL_BYTES, hard=2**40, is_metered=False)
    assert limits.total_limit(tenant.id) == 2**40


@pytest.mark.parametrize("prefix", ["", "Agents", "agent_data", "-agents", "agents-", "a.b", "x" * 31, "a/b", "a\n"])
def test_a_prefix_that_makes_no_bucket_names_is_refused(prefix):
    with pytest.raises(ValidationError):
        Settings(storage_bucket_prefix=prefix)


@pytest.mark.parametrize("prefix", ["a", "agent-data", "x" * 30])
def test_buckets_of_a_prefix_have_names_that_s3_takes(configure, prefix):
    configure(storage_bucket_prefix=Settings(storage_bucket_prefix=prefix).storage_bucket_prefix)
    check_bucket_name(bucket_of(uuid7()), strict=True)


def test_fifty_at_once_never_overshoot(tenant, configure):
    configure(storage_max_total_bytes=70)
    results = []

    def announce():
        try:
            with transaction():
                limits.reserve(tenant.id, 10)
                object_by(None, tenant, size_bytes=10, status="pending_upload")
            results.append("taken")
        except StorageFull:
            results.append("full")
        finally:
            release()

    threads = [threading.Thread(target=announce) for _ in range(50)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (results.count("taken"), results.count("full"), limits.used_bytes(tenant.id)) == (7, 43, 70)


def test_a_long_list_is_read_from_its_index(tenant, person):
    database.execute_sql(
        """insert into storage_object (id, tenant_id, bucket, object_key, filename, mime_type, size_bytes, created_at)
        select gen_random_uuid(), %s, 'b', n::text, 'f', 'text/plain', 1, now() - n * interval '1 second'
        from generate_series(1, 10000) n""",
        (str(tenant.id),),
    )
    database.execute_sql("analyze storage_object")
    for principal in (person("admin"), person("member")):
        query = StorageObject.visible_to(principal).where(StorageObject.deleted_at.is_null())
        query = query.order_by(StorageObject.created_at.desc(), StorageObject.id.desc()).limit(20).offset(40)
        sql, values = query.sql()
        plan = "\n".join(row[0] for row in database.execute_sql(f"explain {sql}", values))
        assert "storage_object_tenant" in plan and "Sort" not in plan, plan
