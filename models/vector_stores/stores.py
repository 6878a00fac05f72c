"""A vector store: files that can be searched by meaning. Its engine is ours (pgvector) or the provider's (openai)."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from peewee import BigIntegerField, BooleanField, CharField, IntegerField, TextField, UUIDField

from models.platform.authorization import VECTOR_STORE_READ
from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.platform.errors import Conflict, NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal

PGVECTOR, OPENAI = "pgvector", "openai"  # engines
CREATING, IN_PROGRESS, COMPLETED, EXPIRED, FAILED, DELETED = (
    "creating",
    "in_progress",
    "completed",
    "expired",
    "failed",
    "deleted",
)


TOUCHED_SECONDS = 60  # how exact the time of the last use is
HOLD = "select {columns} from vector_store where id = %(store_id)s and deleted_at is null for no key update"
# The sum is taken after the row is locked: two files that are ready at the same moment must see each other.
RECOUNT = """
update vector_store set updated_at = clock_timestamp(), usage_bytes = (
    select coalesce(sum(usage_bytes), 0) from vector_store_file
    where vector_store_id = %(store_id)s and deleted_at is null)
where id = %(store_id)s"""


class VectorStoreNotFound(NotFound):
    code, message = "vector_store_not_found", "Vector store not found"


class StoreExpired(Conflict):
    code, message = "vector_store_expired", "This vector store has expired."


class StoreFailed(Conflict):
    code, message = "vector_store_failed", "This vector store could not be made. Delete it, and create another one."


class StoreNotReady(Conflict):
    code, message = "vector_store_not_ready", "This vector store is still being made. Retry shortly."


class VectorStore(TenantModel):
    """`provider_id`, `next_sync_at` and `sync_failures` are of the engine `openai` only."""

    owner, reading = None, VECTOR_STORE_READ
    updated_at = DateTimeTZField(default=now)
    creator_id = UUIDField(null=True)
    name = CharField()
    description = TextField(null=True)
    status = CharField()
    engine = CharField()
    provider_id = CharField(null=True)
    embedding_model = CharField(null=True)
    dimensions = IntegerField(null=True)
    usage_bytes = BigIntegerField(default=0)
    expires_after: dict[str, Any] | None = BinaryJSONField(null=True)
    expires_at = DateTimeTZField(null=True)
    last_active_at = DateTimeTZField(null=True)
    metadata: dict[str, Any] = BinaryJSONField(default=dict)
    next_sync_at = DateTimeTZField(null=True)
    sync_failures = IntegerField(default=0)
    has_own_table = BooleanField(default=False)  # of chunks: models/vector_stores/tables.py
    indexed_edition = BigIntegerField(default=0)  # the last one in its index: models/vector_stores/indexes.py
    deleted_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "vector_store"

    @classmethod
    def find(cls, principal: Principal, store_id: UUID) -> "VectorStore":
        """A live store. VectorStoreNotFound if there is none, or this caller may not see it."""
        found = cls.visible_to(principal).where((cls.id == store_id) & cls.deleted_at.is_null()).get_or_none()
        if found is None:
            raise VectorStoreNotFound()
        return found

    @property
    def openai_id(self) -> str:
        """What clients call it beside its id; the provider's id, where the provider has it."""
        return self.provider_id or f"vs_{self.id.hex}"

    @property
    def is_expired(self) -> bool:
        """Whether its time is over, also if nobody has written it down yet."""
        return self.status == EXPIRED or (self.expires_at is not None and self.expires_at <= now())

    @property
    def shown_status(self) -> str:
        return EXPIRED if self.is_expired else self.status

    def require_usable(self) -> None:
        """StoreExpired or StoreFailed (409)."""
        if self.is_expired:
            raise StoreExpired(details={"expires_at": None if self.expires_at is None else self.expires_at.isoformat()})
        if self.status == FAILED:
            raise StoreFailed()

    def touch(self) -> None:
        """It is used now. Written once in TOUCHED_SECONDS at most. A store at the provider lives on there, too."""
        time = now()
        recently = time - timedelta(seconds=TOUCHED_SECONDS)
        if self.last_active_at is not None and self.last_active_at > recently:
            return
        changes: dict[str, Any] = {"last_active_at": time}
        if self.expires_after:
            changes["expires_at"] = time + timedelta(days=self.expires_after["days"])
        is_old = VectorStore.last_active_at.is_null() | (VectorStore.last_active_at <= recently)
        is_live = (VectorStore.status != EXPIRED) & VectorStore.deleted_at.is_null()
        VectorStore.update(**changes).where((VectorStore.id == self.id) & is_old & is_live).execute()

    @classmethod
    @in_transaction
    def hold(cls, store_id: UUID) -> "VectorStore | None":
        """The live row, locked before rows of its files are changed. None if it is deleted."""
        return cls.one(HOLD, store_id=store_id)

    @classmethod
    @in_transaction
    def recount(cls, store_id: UUID) -> None:
        """Its `usage_bytes` is the sum of its live files'. `hold` it first."""
        database.execute_prepared(RECOUNT, {"store_id": store_id})
