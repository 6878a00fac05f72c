"""The buckets, one per tenant: which there are. A bucket's row stays when its tenant is deleted, until it is emptied."""

from uuid import UUID

from peewee import CharField, UUIDField

from models.platform.clock import now
from models.platform.model import DateTimeTZField, Model
from models.storage.names import bucket_of


class Bucket(Model):
    """`made_at`: when the storage had it; None until then."""

    id = None  # type: ignore[assignment]  # the name is the key
    name = CharField(primary_key=True)
    tenant_id = UUIDField()
    made_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "storage_bucket"

    @classmethod
    def is_made(cls, tenant_id: UUID) -> bool:
        return cls.select().where((cls.name == bucket_of(tenant_id)) & cls.made_at.is_null(False)).exists()

    @classmethod
    def mark_made(cls, tenant_id: UUID) -> None:
        row = {"name": bucket_of(tenant_id), "tenant_id": tenant_id, "made_at": now()}
        cls.insert(**row).on_conflict(conflict_target=[cls.name], update={cls.made_at: now()}).execute()
