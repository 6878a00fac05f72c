"""Making and deleting containers: the rows come first, and what the provider has follows by jobs."""

from typing import Any, NamedTuple
from uuid import UUID

from models.billing import plans
from models.containers.bindings import ContainerBinding
from models.containers.container import CREATING, DELETED, FAILED, Container, ContainerNotFound
from models.platform import audit
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.platform.errors import Conflict, DomainError, Forbidden, NotFound
from models.platform.locks import lock
from models.platform.principal import Principal
from models.platform.settings import settings

PER_TENANT = "containers.per_tenant"
KNOWN_FILES = """
select provider_file_id from provider_file
where tenant_id = %(tenant_id)s and provider_file_id = any(%(file_ids)s)"""


class ContainerNameTaken(Conflict):
    code, message = "container_name_taken", "A container with this name already exists"


class TooManyContainers(Forbidden):
    code, message = "container_limit_reached", "Maximum containers reached for tenant"


class MemoryNotAllowed(DomainError):
    status, code, message = 422, "memory_tier_not_allowed", "Memory tier not allowed for containers"


class ProviderFileNotFound(NotFound):
    code, message = "file_not_found", "File not found"


class Wish(NamedTuple):
    """A new container. `memory_limit`: CONTAINER_DEFAULT_AUTO_MEMORY if None. `expires_after`: {"anchor": "last_active_at",
    "minutes"}. `file_ids`: of files that the tenant has at the provider."""

    name: str
    memory_limit: str | None = None
    expires_after: dict[str, Any] | None = None
    file_ids: list[str] | None = None
    metadata: dict[str, Any] | None = None


@in_transaction
def create(principal: Principal, wish: Wish, client: ClientInfo = UNKNOWN_CLIENT) -> Container:
    """The row of a new container, which is `creating` until its job has made it.

    MemoryNotAllowed (422), TooManyContainers (403), ContainerNameTaken (409), ProviderFileNotFound (404).
    """
    tenant_id, memory = principal.tenant_id, wish.memory_limit
    memory = settings.container_default_auto_memory if memory is None else memory
    if tenant_id is None:
        raise ContainerNotFound()
    tiers = settings.items(settings.container_allowed_memory_tiers)
    if memory not in tiers:
        raise MemoryNotAllowed(details={"allowed": tiers})
    lock("containers", tenant_id)  # the count holds until the commit
    most = plans.limit(tenant_id, PER_TENANT)
    most = settings.container_max_containers_per_tenant if most is None else most
    if used(tenant_id) >= most:
        raise TooManyContainers(details={"limit": most})
    if _live(tenant_id).where(Container.name == wish.name).exists():
        raise ContainerNameTaken()
    file_ids = list(dict.fromkeys(wish.file_ids or ()))
    _require_files(tenant_id, file_ids)
    container = Container.create(
        tenant_id=tenant_id,
        creator_id=principal.user_id,
        name=wish.name,
        memory_limit=memory,
        status=CREATING,
        expires_after=wish.expires_after,
        file_ids=file_ids,
        metadata=wish.metadata or {},
    )
    audit.record("container.created", principal, f"container:{container.id}", client=client, memory_limit=memory)
    return container


def used(tenant_id: UUID) -> int:
    """How many containers count against the tenant's limit."""
    return int(_live(tenant_id).count())


def _live(tenant_id: UUID) -> Any:
    return Container.select(Container.id).where(Container.tenant_id == tenant_id, Container.deleted_at.is_null())


def _require_files(tenant_id: UUID, file_ids: list[str]) -> None:
    if not file_ids:
        return
    rows = database.execute_prepared(KNOWN_FILES, {"tenant_id": tenant_id, "file_ids": file_ids}).fetchall()
    if unknown := sorted(set(file_ids) - {row[0] for row in rows}):
        raise ProviderFileNotFound(details={"file_ids": unknown})


@in_transaction
def delete(principal: Principal, container_id: UUID, client: ClientInfo = UNKNOWN_CLIENT) -> Container:
    """The container is gone for everybody: no agent has it, and its name and place are free. A job removes it at the provider.

    ContainerNotFound.
    """
    container = Container.find(principal, container_id)
    if not _remove(container.id):
        raise ContainerNotFound()
    audit.record("container.deleted", principal, f"container:{container.id}", client=client)
    return container


@in_transaction
def withdraw(container: Container) -> None:
    """Take back a container that could not be made, and of which nobody was told."""
    if Container.select(Container.id).where((Container.id == container.id) & (Container.status == FAILED)).exists():
        _remove(container.id)


@in_transaction
def _remove(container_id: UUID) -> bool:
    """False if it is deleted already."""
    gone = Container.update(status=DELETED, deleted_at=now(), updated_at=now())
    if not gone.where((Container.id == container_id) & Container.deleted_at.is_null()).execute():
        return False
    ContainerBinding.delete().where(ContainerBinding.container_id == container_id).execute()
    return True
