"""What a tenant may have of vector stores: its plan says how much, and otherwise the settings of the installation.

Whoever adds a store or a file holds the tenant's lock from before the count until its commit, so that no limit is exceeded.
"""

from uuid import UUID

from models.billing import plans
from models.platform.database import database, in_transaction
from models.platform.errors import BadRequest, Forbidden
from models.platform.locks import lock
from models.platform.settings import settings

MEGABYTE = 1024 * 1024
STORES = "select count(*) from vector_store where tenant_id = %(tenant_id)s and deleted_at is null"
FILES = "select count(*) from vector_store_file where vector_store_id = %(store_id)s and deleted_at is null"
# A file counts as large as it is, also before it is indexed; its index may be larger.
BYTES = """
select coalesce(sum(greatest(file.usage_bytes, file.size_bytes)), 0)::bigint
from vector_store_file file join vector_store store on store.id = file.vector_store_id
where store.tenant_id = %(tenant_id)s and store.deleted_at is null and file.deleted_at is null"""


class TooManyStores(Forbidden):
    code, message = "vector_store_limit_reached", "Maximum vector stores reached for tenant"


class TooManyFiles(Forbidden):
    code, message = "vector_store_file_limit_reached", "Maximum files reached for this vector store"


class TooManyBytes(Forbidden):
    code, message = "vector_store_byte_limit_reached", "Tenant vector store byte cap exceeded"


class FileTooLarge(BadRequest):
    code = "file_too_large"


class TypeNotAllowed(BadRequest):
    code, message = "mime_type_not_allowed", "MIME type not allowed for vector store indexing"


@in_transaction
def hold(tenant_id: UUID) -> None:
    """Hold what limits the tenant's stores and files until the transaction ends."""
    lock("vector_stores", tenant_id)


def require_room_for_store(tenant_id: UUID) -> None:
    """TooManyStores (403). The tenant's lock is held."""
    most = _limit(tenant_id, "vector.stores_per_tenant", settings.vector_max_stores_per_tenant)
    if most is not None and _count(STORES, tenant_id=tenant_id) >= most:
        raise TooManyStores(details={"limit": most})


def require_room_for_file(tenant_id: UUID, store_id: UUID, size: int) -> None:
    """TooManyFiles, TooManyBytes (403). The tenant's lock is held."""
    most = _limit(tenant_id, "vector.files_per_store", settings.vector_max_files_per_store)
    if most is not None and _count(FILES, store_id=store_id) >= most:
        raise TooManyFiles(details={"limit": most})
    most = _limit(tenant_id, "vector.total_bytes_per_tenant", settings.vector_max_total_bytes)
    if most is not None and _count(BYTES, tenant_id=tenant_id) + size > most:
        raise TooManyBytes(details={"limit": most})


def require_indexable(tenant_id: UUID, mime_type: str | None, size: int) -> None:
    """FileTooLarge, TypeNotAllowed (400)."""
    most = _limit(tenant_id, "vector.max_file_bytes", settings.vector_max_file_mb * MEGABYTE)
    if most is not None and size > most:
        raise FileTooLarge(f"File exceeds maximum size of {most / MEGABYTE:g} MB", details={"limit": most})
    if mime_type not in settings.items(settings.vector_allowed_mime_types):
        raise TypeNotAllowed(details={"mime_type": mime_type})


def _limit(tenant_id: UUID, feature: str, otherwise: int | None) -> int | None:
    of_plan = plans.limit(tenant_id, feature)
    return otherwise if of_plan is None else of_plan


def _count(statement: str, **values: object) -> int:
    return int(database.execute_prepared(statement, values).fetchone()[0])
