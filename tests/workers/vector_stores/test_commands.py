"""The operators' commands of vector stores."""

import io
import json

import pytest

from models.auth.tenants import Tenant
from models.platform.audit import AuditEvent
from models.vector_stores.files import ProviderFile, VectorStoreFile
from models.vector_stores.stores import VectorStore
from tests.support.vector_stores import make_store
from workers.gateways import openai_vector_stores as provider
from workers.vector_stores import reconciliation
from workers.vector_stores.commands import main


@pytest.fixture
def store(library, tenant):
    made = make_store(tenant, engine="openai")
    VectorStore.update(provider_id=provider.make(made).id).where(VectorStore.id == made.id).execute()
    return made


def test_stores_are_listed_and_shown(store, tenant, capsys):
    make_store(Tenant.create(slug="other", name="Other"), "theirs")
    VectorStoreFile.create(tenant_id=tenant.id, vector_store_id=store.id, file_id="file-x", filename="x.md")
    assert main(["stores", "list", "--tenant", "acme"]) == 0
    listed = capsys.readouterr().out
    assert str(store.id) in listed and "theirs" not in listed
    assert main(["stores", "show", str(store.id)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["engine"], shown["files"]) == ("openai", {"in_progress": 1})
    assert main(["stores", "show", str(tenant.id)]) == 2 and "no such" in capsys.readouterr().err


def test_a_store_is_compared_with_the_provider(store, tenant, library, capsys):
    assert main(["stores", "sync", str(store.id)]) == 0
    library.fault("GET /v1/vector_stores/{store_id}", status=503, times=3)
    assert main(["stores", "sync", str(store.id)]) == 1
    assert main(["stores", "sync", str(make_store(tenant, "ours").id)]) == 2
    assert "not at the provider" in capsys.readouterr().err


def test_a_file_is_registered_for_one_tenant(library, tenant, capsys):
    file = provider.upload(tenant.id, io.BytesIO(b"text"), "x.md")
    assert main(["files", "register", "acme", file.id]) == 0
    row = ProviderFile.get()
    assert (row.tenant_id, row.provider_file_id, row.size_bytes) == (tenant.id, file.id, 4)
    assert main(["files", "register", "acme", file.id]) == 2
    assert main(["files", "register", "acme", "file-nope"]) == 2
    capsys.readouterr()
    assert main(["files", "list"]) == 0 and file.id in capsys.readouterr().out
    assert main(["files", "forget", file.id]) == 0 and not ProviderFile.select().exists()
    assert main(["files", "forget", file.id]) == 2
    assert [event.action for event in AuditEvent.select().order_by(AuditEvent.id)] == [
        "provider_file.registered",
        "provider_file.forgotten",
    ]


def test_what_nobody_knows_is_printed_and_removed(store, library, capsys, monkeypatch):
    VectorStore.delete().execute()
    assert main(["reconcile"]) == 0 and "Nothing" in capsys.readouterr().out
    monkeypatch.setattr(reconciliation, "AT_WORK", -reconciliation.AT_WORK)
    assert main(["reconcile", "--dry-run"]) == 1 and len(library.all()) == 1
    assert main(["reconcile"]) == 0 and library.all() == []
    assert main(["reconcile"]) == 0


def test_a_provider_that_is_away_is_an_error(library, capsys):
    library.fault("GET /v1/vector_stores", status=503, times=3)
    assert main(["reconcile"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
