"""Containers, in which agents run code: making, reading and deleting them, and giving them to agents."""

from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.containers import (
    ContainerBindingListResponse,
    ContainerBindingResponse,
    ContainerBindRequest,
    ContainerCreateRequest,
    ContainerListResponse,
    ContainerQuery,
    ContainerResponse,
)
from edge.waiting import wait_until
from models.containers import bindings, keeping, states
from models.containers.bindings import ContainerBinding
from models.containers.container import CREATING, FAILED, Container
from models.containers.metrics import OPERATIONS
from models.platform import limits
from models.platform.authorization import CONTAINER_MANAGE, CONTAINER_READ
from models.platform.database import transaction
from models.platform.errors import DomainError
from models.platform.keyset import Listing
from models.platform.settings import settings
from workers.agents.catalog import catalog
from workers.jobs import CONTAINER_CREATE, CONTAINER_REFRESH, CONTAINER_REMOVE, enqueue

CREATE_SECONDS, REFRESH_SECONDS = 20, 5  # for which a request waits for the provider
# The status of an answer by the code of what went wrong at the provider.
STATUS = {
    "provider_authentication": 502,
    "provider_error": 502,
    "provider_not_configured": 503,
    "provider_rate_limited": 429,
    "provider_rejected": 422,
    "provider_resource_missing": 404,
    "provider_unavailable": 503,
}


class ContainerNotMade(DomainError):
    message = "The provider did not make the container."

    def __init__(self, code: str) -> None:
        refused = "The provider does not make such a container. It may allow fewer minutes of expires_after."
        super().__init__(
            refused if code == "provider_rejected" else None,
            headers={"Retry-After": "10"} if STATUS.get(code) in (429, 503) else None,
        )
        self.code, self.status = code, STATUS.get(code, 502)


class Containers:
    @endpoint("Create Container", "containers", action=CONTAINER_MANAGE, status=201, tenant=True)
    def on_post(self, req: Request, resp: falcon.Response, body: ContainerCreateRequest) -> ContainerResponse:
        """A new container. One that the provider has not made in time is `creating`, and goes on; if it cannot be made, it is
        `failed`."""
        principal = req.context.principal
        per_minute = settings.container_creations_per_minute
        limits.hit("container_creations_per_minute", per_minute, 60, principal.tenant_id)
        with OPERATIONS.counted("create"):
            with transaction():
                container = keeping.create(principal, keeping.Wish(**body.model_dump()), req.context.client)
                enqueue(
                    CONTAINER_CREATE,
                    tenant_id=container.tenant_id,
                    container_id=str(container.id),
                    generation=container.generation,
                )
            made = wait_until(
                lambda: Container.find(principal, container.id), lambda row: row.status != CREATING, CREATE_SECONDS
            )
            if made.status == FAILED:
                with transaction():
                    keeping.withdraw(made)
                raise ContainerNotMade(made.error_code or "provider_error")
        return show(made)

    @endpoint("List Containers", "containers", action=CONTAINER_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, query: ContainerQuery) -> ContainerListResponse:
        """The tenant's containers, the newest first, as they were when the provider last told us."""
        rows = Container.visible_to(req.context.principal).where(Container.deleted_at.is_null())
        page = Listing.of(rows, limit=query.limit, offset=query.offset, cursor=query.cursor)
        return ContainerListResponse(
            items=[show(row) for row in page.items], total=page.total, next_cursor=page.next_cursor
        )

    @endpoint("Get Container By Id", "containers", action=CONTAINER_READ, tenant=True)
    def on_get_one(self, req: Request, resp: falcon.Response, container_id: UUID) -> ContainerResponse:
        """A container. If what we know of it is older than a minute, the provider is asked, for a few seconds at most."""
        principal = req.context.principal
        container = Container.find(principal, container_id)
        with transaction():
            is_asking = states.claim_refresh(container)
            if is_asking:
                enqueue(CONTAINER_REFRESH, tenant_id=container.tenant_id, container_id=str(container.id))
        if is_asking:
            known = container.synced_at
            container = wait_until(
                lambda: Container.find(principal, container_id), lambda row: row.synced_at != known, REFRESH_SECONDS
            )
        return show(container)

    @endpoint("Delete Container", "containers", action=CONTAINER_MANAGE, status=204, tenant=True)
    def on_delete_one(self, req: Request, resp: falcon.Response, container_id: UUID) -> None:
        """Delete a container with its files. Agents that have it lose it; its name can be used again at once."""
        with OPERATIONS.counted("delete"), transaction():
            container = keeping.delete(req.context.principal, container_id, req.context.client)
            enqueue(CONTAINER_REMOVE, tenant_id=container.tenant_id, container_id=str(container.id))


class AgentContainers:
    @endpoint("Bind Agent Container", "containers", action=CONTAINER_MANAGE, status=204, tenant=True)
    def on_post(self, req: Request, resp: falcon.Response, agent_key: str, body: ContainerBindRequest) -> None:
        """Have an agent run its code in this container, instead of the one that it had before. Repeatable."""
        catalog().get(agent_key)  # AgentNotFound
        with OPERATIONS.counted("bind"), transaction():
            bindings.bind(req.context.principal, agent_key, body.container_id, req.context.client)

    @endpoint("Unbind Agent Container", "containers", action=CONTAINER_MANAGE, status=204, tenant=True)
    def on_delete(self, req: Request, resp: falcon.Response, agent_key: str) -> None:
        """Have an agent run its code in containers that the provider makes for it. Repeatable."""
        with OPERATIONS.counted("unbind"), transaction():
            bindings.unbind(req.context.principal, agent_key, req.context.client)

    @endpoint("List Agent Containers", "containers", action=CONTAINER_READ, tenant=True)
    def on_get_all(self, req: Request, resp: falcon.Response) -> ContainerBindingListResponse:
        """Which agents have a container. Beyond the contract."""
        return ContainerBindingListResponse(
            items=[_show_binding(row) for row in bindings.bindings(req.context.principal)]
        )


def show(row: Container) -> ContainerResponse:
    return ContainerResponse(
        id=row.id,
        openai_id=row.provider_id or "",
        tenant_id=row.tenant_id,
        owner_user_id=row.creator_id,
        name=row.name,
        memory_limit=row.memory_limit,
        status=row.status,
        expires_after=row.expires_after,
        last_active_at=row.last_active_at,
        metadata=row.metadata,
        created_at=row.created_at,
        updated_at=row.updated_at,
        error_code=row.error_code,
    )


def _show_binding(row: ContainerBinding) -> ContainerBindingResponse:
    return ContainerBindingResponse(agent_key=row.agent_key, container_id=row.container_id, created_at=row.created_at)
