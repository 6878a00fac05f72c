"""Objects of the test's tenant, on a real S3 server."""

import pytest

from tests.support.storage import object_by


@pytest.fixture
def bucket(s3, tenant):
    """The name of the tenant's bucket."""
    from models.storage.buckets import Bucket
    from workers.storage import buckets

    name = buckets.ensure(tenant.id)
    Bucket.update(made_at="2026-01-01T00:00:00Z").execute()
    return name


@pytest.fixture
def stored(bucket, tenant):
    """stored(data, **columns) -> a ready object with its bytes."""
    from workers.gateways import storage

    def make(data=b"hello", **columns):
        row = object_by(None, tenant, size_bytes=len(data), **columns)
        storage.put(bucket, row.object_key, data, row.mime_type)
        return row

    return make


@pytest.fixture
def uploaded(bucket, tenant):
    """uploaded(data, **columns) -> a pending object whose bytes have arrived."""
    from models.storage.names import upload_key
    from workers.gateways import storage

    def make(data=b"hello", **columns):
        row = object_by(None, tenant, status="pending_upload", **{"size_bytes": len(data), **columns})
        storage.put(bucket, upload_key(tenant.id, row.id), data, row.mime_type)
        return row

    return make
