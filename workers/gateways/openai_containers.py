"""Containers at the provider. Each bears a name of ours, so that it is found again if its answer was lost.

Lists are asked where that will do: a container that is read by its id counts as used, and lives longer.
"""

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from models.containers.container import Container
from models.containers.states import Snapshot
from workers.gateways.openai import NotThere, call

if TYPE_CHECKING:
    from openai.types import ContainerListResponse

PAGE, MOST_PAGES = 100, 5  # the provider's largest page; pages that are looked through where a server knows no names
SECONDS = 30  # for a call


def create(container: Container) -> Snapshot:
    """Make a container at the provider. ProviderError."""
    wanted: dict[str, Any] = {"name": container.remote_name, "memory_limit": container.memory_limit}
    if container.expires_after:
        wanted["expires_after"] = container.expires_after
    if container.file_ids:
        wanted["file_ids"] = container.file_ids
    made = call("containers.create", lambda openai: openai.containers.create(**wanted), seconds=SECONDS, retries=0)
    return Snapshot(made.id, made.status, _time(made.last_active_at))


def find(container: Container) -> Snapshot | None:
    """The newest container at the provider that was made for this generation. ProviderError."""
    name, after = container.remote_name, ""
    for _ in range(MOST_PAGES):
        page = _page(name, after)
        for one in page:
            if one.name == name:
                return Snapshot(one.id, one.status, _time(one.last_active_at))
        if len(page) < PAGE:
            return None
        after = page[-1].id
    return None


def look(container: Container) -> Snapshot | None:
    """What the provider says of a container; None if it is not there. ProviderError."""
    found = find(container)
    provider_id = container.provider_id
    if provider_id is None or (found and found.provider_id == provider_id):
        return found
    with suppress(NotThere):
        one = call("containers.retrieve", lambda openai: openai.containers.retrieve(provider_id), seconds=SECONDS)
        return Snapshot(one.id, one.status, _time(one.last_active_at))
    return None


def remove(provider_id: str) -> None:
    """Delete a container at the provider. One that is gone already is as good. ProviderError."""
    with suppress(NotThere):
        call("containers.delete", lambda openai: openai.containers.delete(provider_id), seconds=SECONDS)


def _page(name: str, after: str) -> "list[ContainerListResponse]":
    wanted: dict[str, Any] = {"name": name, "limit": PAGE, **({"after": after} if after else {})}
    return call("containers.list", lambda openai: openai.containers.list(**wanted).data, seconds=SECONDS)


def _time(epoch: int | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
