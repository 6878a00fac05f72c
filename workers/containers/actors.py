"""The jobs of containers: make one at the provider, ask for it, remove it.

A job may run again at any point: what was made is found by its name, and what nobody needs any more is removed.
"""

import logging

from models.containers import metrics, states
from models.containers.container import CREATING, DELETED, RUNNING, Container
from models.containers.states import Snapshot
from models.platform.database import release, transaction
from models.platform.ids import parse_uuid
from workers.gateways import openai_containers
from workers.gateways.openai import (
    ProviderAuthentication,
    ProviderError,
    ProviderNotConfigured,
    ProviderUnavailable,
)
from workers.jobs import (
    CONTAINER_CREATE,
    CONTAINER_CREATE_FAIL,
    CONTAINER_REFRESH,
    CONTAINER_REMOVE,
    CONTAINER_SYNC,
    enqueue,
)
from workers.runtime import Lease, actor

SYNC_SECONDS, SYNC_MOST = 240, 200  # age of the news after which the sync asks; containers of one sync
log = logging.getLogger(__name__)


@actor(CONTAINER_CREATE)
def create_container(lease: Lease) -> None:
    """Make this generation of a container, if it is still wanted and was not made already."""
    container = _generation(lease)
    if container is None:
        return
    if container.status == DELETED:  # while this job waited or was being retried
        _remove_found(container)
        return
    if container.status != CREATING:
        return
    try:
        with metrics.OPERATIONS.counted("create"), lease.interruptible():
            # Only an earlier attempt can have made it.
            found = openai_containers.find(container) if lease.job.epoch > 1 else None
            found = found or openai_containers.create(container)
    except ProviderError as error:
        if error.may_heal and not isinstance(error, ProviderNotConfigured | ProviderAuthentication):
            raise
        _fail(lease, container, error.code)
        return
    with transaction():
        lease.job.finish()
        if not states.made(container, found):
            _enqueue_removal(container, found)


@actor(CONTAINER_CREATE_FAIL)
def fail_container(lease: Lease) -> None:
    """No attempt is left."""
    container = _generation(lease)
    if container is not None:
        _fail(lease, container, ProviderUnavailable.code)


@actor(CONTAINER_REFRESH)
def refresh_container(lease: Lease) -> None:
    """Ask the provider how a container is."""
    container = _row(lease)
    if container is not None:
        with lease.interruptible():
            _refresh(container)


@actor(CONTAINER_SYNC)
def sync_containers(lease: Lease) -> None:
    """Ask for all containers whose last news are old. One that fails does not hold up the others, but a provider that is away
    does: the next sync comes soon."""
    for container_id in states.due(SYNC_SECONDS, SYNC_MOST):
        lease.checkpoint()
        container = Container.live(container_id)
        release()
        if container is None or container.status != RUNNING:
            continue
        try:
            with lease.interruptible():
                _refresh(container)
        except ProviderError as error:
            log.warning("container.sync_failed", extra={"container_id": str(container_id), "reason": error.code})
            if error.may_heal:
                return


@actor(CONTAINER_REMOVE)
def remove_container(lease: Lease) -> None:
    """Remove what the provider has of a container that was deleted or replaced."""
    with metrics.OPERATIONS.counted("remove"), lease.interruptible():
        if provider_id := lease.job.args.get("provider_id"):
            openai_containers.remove(provider_id)
            return
        container = _row(lease)
        if container is not None:
            _remove_found(container)


def _refresh(container: Container) -> None:
    with metrics.OPERATIONS.counted("refresh"):
        found = openai_containers.look(container)
    with transaction():
        states.refreshed(container, found)


def _remove_found(container: Container) -> None:
    """Whatever was made for it, though its id may never have been written down."""
    found = openai_containers.find(container)
    for provider_id in {container.provider_id, found.provider_id if found else None} - {None}:
        openai_containers.remove(str(provider_id))


def _fail(lease: Lease, container: Container, code: str) -> None:
    with transaction():
        lease.job.finish()
        states.failed(container, code)
    log.warning("container.not_made", extra={"container_id": str(container.id), "reason": code})


def _enqueue_removal(container: Container, found: Snapshot) -> None:
    enqueue(
        CONTAINER_REMOVE,
        tenant_id=container.tenant_id,
        container_id=str(container.id),
        provider_id=found.provider_id,
    )


def _row(lease: Lease) -> Container | None:
    container_id = parse_uuid(lease.job.args["container_id"])
    found: Container | None = Container.get_or_none(Container.id == container_id)
    release()
    return found


def _generation(lease: Lease) -> Container | None:
    """The container, as long as it is of the generation that this job is about."""
    container = _row(lease)
    return container if container and container.generation == lease.job.args["generation"] else None
