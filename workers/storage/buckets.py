"""Making the bucket of a tenant."""

from uuid import UUID

from models.platform.settings import settings
from models.storage.buckets import Bucket
from models.storage.names import bucket_of
from workers.gateways import storage


def ensure(tenant_id: UUID) -> str:
    """The name of the tenant's bucket, which exists afterwards. StorageUnavailable."""
    name = bucket_of(tenant_id)
    if not Bucket.is_made(tenant_id):
        storage.make_bucket(name)
        if settings.allowed_origins:
            storage.allow_origins(name)
        Bucket.mark_made(tenant_id)
    return name
