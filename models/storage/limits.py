"""What a tenant may store: which types, how large a file, and how many bytes altogether."""

from uuid import UUID

from models.billing import plans
from models.platform.database import database, in_transaction
from models.platform.errors import BadRequest, Forbidden
from models.platform.locks import lock
from models.platform.settings import settings

TOTAL_BYTES = "storage.total_bytes_per_tenant"
MEGABYTE = 1024 * 1024
# Uploads that are awaited count as announced; what is rejected or deleted does not count.
USED = """
select coalesce(sum(size_bytes), 0)::bigint from storage_object
where tenant_id = %(tenant_id)s and deleted_at is null and status in ('pending_upload', 'ready')"""


class FileTooLarge(BadRequest):
    code, message = "file_too_large", "File size exceeds allowed limit"


class TypeNotAllowed(BadRequest):
    code, message = "mime_type_not_allowed", "MIME type is not allowed"


class StorageFull(Forbidden):
    code, message = "storage_full", "Maximum bytes of stored objects reached for tenant"


def check_file(mime_type: str, size: int) -> None:
    """FileTooLarge, TypeNotAllowed."""
    if size > settings.storage_max_file_mb * MEGABYTE:
        raise FileTooLarge(details={"limit_bytes": settings.storage_max_file_mb * MEGABYTE})
    if mime_type not in settings.items(settings.storage_allowed_mime_types):
        raise TypeNotAllowed(details={"allowed": sorted(settings.items(settings.storage_allowed_mime_types))})


def total_limit(tenant_id: UUID) -> int | None:
    """The bytes that a tenant may have: what its plan says, else STORAGE_MAX_TOTAL_BYTES. None: any number."""
    of_plan = plans.limit(tenant_id, TOTAL_BYTES)
    return settings.storage_max_total_bytes if of_plan is None else of_plan


def used_bytes(tenant_id: UUID) -> int:
    return int(database.execute_prepared(USED, {"tenant_id": tenant_id}).fetchone()[0])


@in_transaction
def reserve(tenant_id: UUID, size: int) -> None:
    """Make sure that `size` more bytes fit, until the end of the transaction, which adds them. StorageFull."""
    limit = total_limit(tenant_id)
    if limit is None:
        return
    lock("storage", tenant_id)
    used = used_bytes(tenant_id)
    if used + size > limit:
        raise StorageFull(details={"limit_bytes": limit, "used_bytes": used})
