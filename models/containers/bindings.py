"""Which container an agent of a tenant has: at most one, and several agents may have the same."""

from collections.abc import Iterable
from uuid import UUID

from peewee import CharField, UUIDField

from models.containers.container import Container, ContainerNotFound
from models.platform import audit
from models.platform.authorization import CONTAINER_READ
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.database import in_transaction
from models.platform.model import TenantModel
from models.platform.principal import Principal


class ContainerBinding(TenantModel):
    owner, reading = None, CONTAINER_READ
    agent_key = CharField()
    container_id = UUIDField()

    class Meta:
        table_name = "container_binding"


@in_transaction
def bind(principal: Principal, agent_key: str, container_id: UUID, client: ClientInfo = UNKNOWN_CLIENT) -> None:
    """From its next run, this agent has that container, and none that it had before. ContainerNotFound."""
    container = Container.find(principal, container_id)
    if Container.lock(container.id) is None or Container.live(container.id) is None:  # deleted at this moment
        raise ContainerNotFound()
    row = ContainerBinding.insert(tenant_id=container.tenant_id, agent_key=agent_key, container_id=container.id)
    keys = (ContainerBinding.tenant_id, ContainerBinding.agent_key)
    row.on_conflict(conflict_target=keys, preserve=(ContainerBinding.container_id,)).execute()
    audit.record("container.bound", principal, f"container:{container.id}", client=client, agent_key=agent_key)


@in_transaction
def unbind(principal: Principal, agent_key: str, client: ClientInfo = UNKNOWN_CLIENT) -> None:
    """This agent has no container of its own any more. Repeatable."""
    is_bound = ContainerBinding.agent_key == agent_key
    found = ContainerBinding.visible_to(principal).where(is_bound).get_or_none()
    if found is None:
        return
    ContainerBinding.delete().where((ContainerBinding.tenant_id == found.tenant_id) & is_bound).execute()
    subject = f"container:{found.container_id}"
    audit.record("container.unbound", principal, subject, client=client, agent_key=agent_key)


def bindings(principal: Principal) -> list[ContainerBinding]:
    """All that the caller may see, by agent."""
    return list(ContainerBinding.visible_to(principal).order_by(ContainerBinding.agent_key))


def container_of(tenant_id: UUID, agent_key: str) -> Container | None:
    """The container that an agent has, for workers."""
    is_bound = (ContainerBinding.tenant_id == tenant_id) & (ContainerBinding.agent_key == agent_key)
    ids: Iterable[UUID] = [row.container_id for row in ContainerBinding.select().where(is_bound)]
    return next((found for found in map(Container.live, ids) if found), None)
