"""Stores and stored objects for tests, as rows."""

import hashlib
import os


def principal_of(tenant, role="admin", user=None):
    from models.platform.principal import Principal, scopes_for

    return Principal(user and user.id, tenant.id, role, frozenset(scopes_for(role)), None, True)


def make_object(tenant, name="notes.md", *, size=1000, mime_type="text/markdown", status="ready", **columns):
    from models.platform.ids import uuid7
    from models.storage.objects import StorageObject

    object_id = uuid7()
    return StorageObject.create(
        id=object_id,
        tenant_id=tenant.id,
        bucket=f"agent-data-{tenant.id.hex}",
        object_key=f"{tenant.id}/{object_id}/{name}",
        filename=name,
        mime_type=mime_type,
        size_bytes=size,
        sha256=hashlib.sha256(os.urandom(8)).hexdigest(),
        status=status,
        **columns,
    )


def make_store(tenant, name="primary", *, engine="pgvector", status="completed", **columns):
    from models.vector_stores.stores import VectorStore

    return VectorStore.create(tenant_id=tenant.id, name=name, engine=engine, status=status, **columns)


def attach(tenant, store, file_id, **wish):
    """Attach without a request: what the edge does, but for the job."""
    from models.platform.ids import uuid7
    from models.vector_stores import attaching

    principal = principal_of(tenant)
    guard = attaching.guard_of(principal, uuid7())
    return guard.begin(lambda: attaching.attach(principal, store.id, str(file_id), guard, **wish))


def put_texts(store, stored, texts, **columns):
    """A file of the store that can be searched: these texts are its chunks, embedded by the configured server."""
    from models.platform.database import transaction
    from models.vector_stores import chunks, editions
    from models.vector_stores.files import VectorStoreFile
    from workers.gateways.embeddings import embed

    row = VectorStoreFile.create(
        tenant_id=store.tenant_id,
        vector_store_id=store.id,
        file_id=f"file-{stored.id.hex}",
        object_id=stored.id,
        filename=stored.filename,
        status="completed",
        **columns,
    )
    vectors = embed(texts).vectors
    batch = [chunks.Chunk(text, 5, None, vector) for text, vector in zip(texts, vectors, strict=True)]
    chunks.stage(row, 1, 0, batch)
    with transaction():
        editions.publish(row, 1)
    return row
