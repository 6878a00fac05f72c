"""The files of vector stores, and which files at the provider belong to which tenant."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from peewee import BigIntegerField, CharField, IntegerField, TextField, UUIDField

from models.platform.authorization import VECTOR_STORE_READ
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import Conflict, NotFound
from models.platform.ids import parse_uuid
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal
from models.runs.run import ACTIVE, Run

if TYPE_CHECKING:
    from peewee import ModelSelect  # generic in peewee's type stubs only

IN_PROGRESS, COMPLETED, FAILED, CANCELLED, DELETED = "in_progress", "completed", "failed", "cancelled", "deleted"


class FileNotFound(NotFound):
    code, message = "file_not_found", "File not found"


class FileBusy(Conflict):
    code, message = "file_in_progress", "This file is being indexed. Wait for its run, or cancel it."


class VectorStoreFile(TenantModel):
    """`file_id` is what clients call it: `file-` and the object's id in hexadecimal, or the provider's id."""

    owner, reading = None, VECTOR_STORE_READ
    updated_at = DateTimeTZField(default=now)
    vector_store_id = UUIDField()
    file_id = CharField()
    object_id = UUIDField(null=True)
    filename = CharField()
    mime_type = CharField(null=True)
    size_bytes = BigIntegerField(null=True)
    sha256 = CharField(null=True)
    usage_bytes = BigIntegerField(default=0)
    status = CharField(default=IN_PROGRESS)
    attributes: dict[str, Any] = BinaryJSONField(default=dict)
    chunking_strategy: dict[str, Any] | None = BinaryJSONField(null=True)
    last_error = TextField(null=True)
    error_code = CharField(null=True)
    chunk_count = IntegerField(default=0)
    run_id = UUIDField(null=True)
    edition_id = BigIntegerField(null=True)  # of its chunks that searches see: models/vector_stores/editions.py
    generation = IntegerField(default=0)  # of its last indexing that has begun
    begun_run_id = UUIDField(null=True)  # whose indexing that is: models/vector_stores/indexing.py
    deleted_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "vector_store_file"

    @classmethod
    def live_in(cls, principal: Principal, store_id: UUID) -> "ModelSelect[VectorStoreFile]":
        """The files of a store that are not detached, as far as this caller may see them."""
        return cls.visible_to(principal).where((cls.vector_store_id == store_id) & cls.deleted_at.is_null())

    @classmethod
    def find(cls, principal: Principal, store_id: UUID, file_id: str) -> "VectorStoreFile":
        """A live file of the store by its id for clients, the id of its object, or that of its row. FileNotFound."""
        row_id = parse_uuid(file_id)
        is_it = cls.file_id == file_id
        if row_id is not None:
            is_it |= (cls.id == row_id) | (cls.file_id == f"file-{row_id.hex}")
        elif copied := ProviderFile.object_behind(principal, file_id):
            is_it |= cls.object_id == copied
        found = cls.live_in(principal, store_id).where(is_it).order_by(cls.id).get_or_none()
        if found is None:
            raise FileNotFound()
        return found

    @in_transaction
    def locked(self) -> "VectorStoreFile":
        """The row as it is now, locked. FileNotFound if it was detached meanwhile."""
        found = VectorStoreFile.lock(self.id)
        if found is None or found.deleted_at is not None:
            raise FileNotFound()
        return found

    def require_idle(self) -> None:
        """FileBusy (409) while a run indexes it."""
        if self.run_id and Run.select(Run.id).where((Run.id == self.run_id) & Run.state.in_(ACTIVE)).exists():
            raise FileBusy(details={"run_id": str(self.run_id)})

    @in_transaction
    def use(self, run: Run) -> None:
        """This run indexes it from now on. A file that can be found stays `completed` meanwhile."""
        self.run_id, self.updated_at = run.id, now()
        if self.status != COMPLETED:
            self.status, self.last_error, self.error_code = IN_PROGRESS, None, None
        self.save()


class ProviderFile(TenantModel):
    owner, reading = None, VECTOR_STORE_READ
    provider_file_id = CharField()
    object_id = UUIDField(null=True)
    filename = CharField()
    mime_type = CharField(null=True)
    size_bytes = BigIntegerField(null=True)

    class Meta:
        table_name = "provider_file"

    @classmethod
    def object_behind(cls, principal: Principal, provider_file_id: str) -> UUID | None:
        """The stored object of which that file at the provider is a copy."""
        found = cls.visible_to(principal).where(cls.provider_file_id == provider_file_id).get_or_none()
        return found.object_id if found else None
