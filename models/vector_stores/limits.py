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
STORES_PER_TENANT, TOTAL_BYTES = "vector.stores_per_tenant", "vector.total_bytes_per_tenant"
FILES_PER_STORE, MAX_FILE_BYTES = "vector.files_per_store", "vector.max_file_bytes"
STORES = "select count(*) from vector_store where tenant_id = %(tenant_id)s and deleted_at is null"
FILES = "select count(*) from vector_store_file where vector_store_id = %(store_id)s and deleted_at is null"
# A file counts as large as it is, also before it is indexed; its index may be larger.
BYTES = """
select coalesce(sum(greatest(file.usage_bytes, file.size_bytes)), 0)::bigint
from vector_store_file file join vector_store store on store.id = file.vector_store_id
where store.tenant_id = %(tenant_id)s and store.deleted_at is null and file.deleted_at is null"""

# The fullest store and the largest file.
FULLEST = """
select coalesce(max(files), 0), coalesce(max(largest), 0)::bigint from (
    select count(*) as files, max(file.size_bytes) as largest
    from vector_store_file file join vector_store store on store.id = file.vector_store_id
    where file.tenant_id = %(tenant_id)s and file.deleted_at is null and store.deleted_at is null
    group by file.vector_store_id
) each_store"""


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
    most = _limit(tenant_id, STORES_PER_TENANT, settings.vector_max_stores_per_tenant)
    if most is not None and _count(STORES, tenant_id=tenant_id) >= most:
        raise TooManyStores(details={"limit": most})


def require_room_for_file(tenant_id: UUID, store_id: UUID, size: int) -> None:
    """TooManyFiles, TooManyBytes (403). The tenant's lock is held."""
    most = _limit(tenant_id, FILES_PER_STORE, settings.vector_max_files_per_store)
    if most is not None and _count(FILES, store_id=store_id) >= most:
        raise TooManyFiles(details={"limit": most})
    most = _limit(tenant_id, TOTAL_BYTES, settings.vector_max_total_bytes)
    if most is not None and _count(BYTES, tenant_id=tenant_id) + size > most:
        raise TooManyBytes(details={"limit": most})


def used(tenant_id: UUID) -> dict[str, int]:
    """What the tenant has now, by feature; of a limit for each store or file, what the fullest store and the largest file has."""
    files, largest = database.execute_prepared(FULLEST, {"tenant_id": tenant_id}).fetchone()
    return {
        STORES_PER_TENANT: _count(STORES, tenant_id=tenant_id),
        TOTAL_BYTES: _count(BYTES, tenant_id=tenant_id),
        FILES_PER_STORE: int(files),
        MAX_FILE_BYTES: int(largest),
    }


def require_indexable(tenant_id: UUID, mime_type: str | None, size: int) -> None:
    """FileTooLarge, TypeNotAllowed (400)."""
    most = _limit(tenant_id, MAX_FILE_BYTES, settings.vector_max_file_mb * MEGABYTE)
    if most is not None and size > most:
        raise FileTooLarge(f"File exceeds maximum size of {most / MEGABYTE:g} MB", details={"limit": most})
    if mime_type not in settings.items(settings.vector_allowed_mime_types):
        raise TypeNotAllowed(details={"mime_type": mime_type})


def _limit(tenant_id: UUID, feature: str, otherwise: int | None) -> int | None:
    of_plan = plans.limit(tenant_id, feature)
    return otherwise if of_plan is None else of_plan


def _count(statement: str, **values: object) -> int:
    return int(database.execute_prepared(statement, values).fetchone()[0])
