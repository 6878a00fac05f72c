"""Attaching files to stores: what is refused, and what a crowd may not exceed."""

import pytest

from models.auth.tenants import Tenant
from models.platform.database import database, transaction
from models.platform.errors import DomainError
from models.runs.run import Run
from models.vector_stores import attaching, limits
from models.vector_stores.files import ProviderFile, VectorStoreFile
from tests.support.crowd import crowd
from tests.support.vector_stores import attach, make_object, make_store


def refusal(tenant, store, file_id):
    with pytest.raises(DomainError) as error:
        attach(tenant, store, file_id)
    return error.value.status, error.value.code


def test_a_stored_object_is_attached_with_a_run_of_its_own(tenant):
    store, stored = make_store(tenant), make_object(tenant)
    attached = attach(tenant, store, stored.id, attributes={"year": 2024})
    row = VectorStoreFile.get_by_id(attached.file.id)
    assert (row.file_id, row.object_id, row.status) == (f"file-{stored.id.hex}", stored.id, "in_progress")
    assert (row.filename, row.mime_type, row.size_bytes, row.sha256) == (
        stored.filename,
        stored.mime_type,
        stored.size_bytes,
        stored.sha256,
    )
    assert row.attributes == {"year": 2024} and row.run_id == attached.run.id
    run = Run.get_by_id(attached.run.id)
    assert (run.kind, run.agent, run.state, run.tenant_id) == ("indexing", "indexing", "queued", tenant.id)


def test_an_object_has_two_names_and_is_attached_once(tenant):
    store, stored = make_store(tenant), make_object(tenant)
    attach(tenant, store, f"file-{stored.id.hex}")
    assert refusal(tenant, store, stored.id) == (409, "file_already_attached")
    assert refusal(tenant, store, attaching.id_of(stored.id)) == (409, "file_already_attached")
    attach(tenant, make_store(tenant, "second"), stored.id)


def test_what_cannot_be_attached(tenant, configure):
    store, other = make_store(tenant), Tenant.create(slug="other", name="Other")
    configure(vector_max_file_mb=1)
    assert refusal(tenant, store, make_object(other).id) == (404, "file_not_found")
    assert refusal(tenant, store, "file-abc123") == (404, "file_not_found")
    assert refusal(tenant, store, make_object(tenant, status="pending_upload").id) == (409, "object_not_ready")
    assert refusal(tenant, store, make_object(tenant, mime_type="image/png").id) == (400, "mime_type_not_allowed")
    assert refusal(tenant, store, make_object(tenant, size=1024 * 1024 + 1).id) == (400, "file_too_large")
    assert refusal(tenant, make_store(other), make_object(tenant).id) == (404, "vector_store_not_found")
    assert not VectorStoreFile.select().exists() and not Run.select().exists()


def test_a_file_at_the_provider_is_attached_by_its_tenant_only(tenant):
    other, store = Tenant.create(slug="other", name="Other"), make_store(tenant, engine="openai")
    ProviderFile.create(tenant_id=tenant.id, provider_file_id="file-mine", filename="a.pdf", size_bytes=5)
    ProviderFile.create(tenant_id=other.id, provider_file_id="file-theirs", filename="b.pdf", size_bytes=5)
    assert attach(tenant, store, "file-mine").file.mime_type == "application/pdf"
    assert refusal(tenant, store, "file-theirs") == (404, "file_not_found")
    assert refusal(tenant, make_store(tenant, "ours"), "file-mine") == (422, "provider_file_not_indexable")


@pytest.mark.parametrize("columns", [{"status": "expired"}, {"status": "failed"}])
def test_a_store_that_cannot_be_used_takes_no_files(tenant, columns):
    status, code = refusal(tenant, make_store(tenant, **columns), make_object(tenant).id)
    assert (status, code) == (409, f"vector_store_{columns['status']}")


def test_fifty_at_once_never_exceed_the_number_of_files(tenant, configure):
    configure(vector_max_files_per_store=7)
    store, objects = make_store(tenant), [make_object(tenant) for _ in range(50)]
    codes = crowd(50, lambda number: outcome(tenant, store, objects[number]))
    assert sorted(codes) == ["ok"] * 7 + ["vector_store_file_limit_reached"] * 43
    assert VectorStoreFile.select().count() == Run.select().count() == 7


def test_fifty_at_once_never_exceed_the_bytes_of_the_tenant(tenant, configure):
    configure(vector_max_total_bytes=5_500)
    stores, objects = [make_store(tenant, name) for name in "ab"], [make_object(tenant) for _ in range(50)]
    codes = crowd(50, lambda number: outcome(tenant, stores[number % 2], objects[number]))
    assert sorted(codes) == ["ok"] * 5 + ["vector_store_byte_limit_reached"] * 45


def test_of_fifty_that_attach_one_object_one_does(tenant):
    store, stored = make_store(tenant), make_object(tenant)
    codes = crowd(50, lambda number: outcome(tenant, store, stored))
    assert sorted(codes) == ["file_already_attached"] * 49 + ["ok"]
    assert Run.select().count() == 1


def test_sizes_beyond_32_bits_are_counted(tenant, configure):
    configure(vector_max_total_bytes=10_000_000_000, vector_max_file_mb=5_000)
    store, large = make_store(tenant), [make_object(tenant, size=4_000_000_000) for _ in range(3)]
    assert [outcome(tenant, store, each) for each in large] == ["ok", "ok", "vector_store_byte_limit_reached"]


def test_a_plan_says_what_the_settings_would(tenant, limited, subscribed):
    subscribed("active")
    limited("vector.files_per_store", hard=1)
    store = make_store(tenant)
    attach(tenant, store, make_object(tenant).id)
    assert refusal(tenant, store, make_object(tenant).id) == (403, "vector_store_file_limit_reached")


def outcome(tenant, store, stored):
    try:
        attach(tenant, store, stored.id)
    except DomainError as error:
        return error.code
    return "ok"


def test_the_bytes_of_a_tenant_are_counted_without_a_look_at_those_of_others(tenant):
    with transaction():
        database.execute_sql(
            """insert into tenant (id, slug, name) select gen_random_uuid(), 'other-' || i, '' from generate_series(1, 200) i;
            insert into vector_store (id, tenant_id, name, status, engine)
            select gen_random_uuid(), id, 'primary', 'completed', 'pgvector' from tenant;
            insert into vector_store_file (id, tenant_id, vector_store_id, file_id, filename)
            select gen_random_uuid(), tenant_id, id, 'file-' || i, '' from vector_store, generate_series(1, 50) i;
            analyze vector_store, vector_store_file"""
        )
        statement, values = f"explain {limits.BYTES}", {"tenant_id": tenant.id}
        plan = "\n".join(line for (line,) in database.execute_sql(statement, values).fetchall())
    assert "Index Cond: (vector_store_id = store.id)" in plan, plan
