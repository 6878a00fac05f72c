"""Vector stores and files at the provider. What we make there bears a mark, so that it is found again if its answer was lost.

The mark names this installation too: others may share the provider's account.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar
from uuid import UUID

from models.platform.ids import parse_uuid
from models.platform.settings import settings
from models.vector_stores.stores import VectorStore
from workers.gateways.openai import UPLOAD_SECONDS, NotThere, call

if TYPE_CHECKING:
    from openai.types import FileObject
    from openai.types import VectorStore as Remote
    from openai.types.vector_stores import VectorStoreFile as RemoteFile

__all__ = ["Remote", "RemoteFile"]  # types, for whoever calls these functions
PAGE = 100  # the provider's largest
STORE_MARK, INSTALLATION_MARK = "longshore_store", "longshore_installation"  # keys of metadata
PURPOSE: Literal["assistants"] = "assistants"  # of files that stores may have
T = TypeVar("T")


def installation() -> str:
    """What names this installation, from its public address: eight hexadecimal characters."""
    return hashlib.sha256(f"{settings.app_name} {settings.app_public_url}".encode()).hexdigest()[:8]


# ------------------------------------------------------------- stores


def make(store: VectorStore) -> "Remote":
    """Make a store at the provider. The tenant's metadata stay here."""
    wanted: dict[str, Any] = {"name": store.name, "metadata": _mark(store.id)}
    if store.description:
        wanted["description"] = store.description
    if store.expires_after:
        wanted["expires_after"] = store.expires_after
    return call("vector_stores.create", lambda client: client.vector_stores.create(**wanted), retries=0)


def find(store_id: UUID) -> "Remote | None":
    """The store at the provider that was made for ours, though its answer may have been lost."""
    return next((remote for owner, remote in ours() if owner == store_id), None)


def ours() -> "Iterator[tuple[UUID, Remote]]":
    """All stores of this installation at the provider, with the ids of ours that they were made for; the newest first."""
    for remote in _pages("vector_stores.list", lambda client, page: client.vector_stores.list(**page)):
        mark = remote.metadata or {}
        owner = parse_uuid(mark.get(STORE_MARK, ""))
        if owner is not None and mark.get(INSTALLATION_MARK) == installation():
            yield owner, remote


def retrieve(provider_id: str) -> "Remote":
    return call("vector_stores.retrieve", lambda client: client.vector_stores.retrieve(provider_id))


def remove(provider_id: str) -> None:
    """Delete a store at the provider. One that is gone already is as good."""
    with suppress(NotThere):
        call("vector_stores.delete", lambda client: client.vector_stores.delete(provider_id))


# ------------------------------------------------------------- files in stores


def attach(provider_id: str, file_id: str, wanted: dict[str, Any]) -> "RemoteFile":
    """Have a file indexed in a store, unless it is there already. `wanted`: attributes and chunking_strategy."""
    with suppress(NotThere):
        return retrieve_file(provider_id, file_id)
    return call(
        "vector_stores.files.create",
        lambda client: client.vector_stores.files.create(provider_id, file_id=file_id, **wanted),
    )


def retrieve_file(provider_id: str, file_id: str) -> "RemoteFile":
    return call(
        "vector_stores.files.retrieve",
        lambda client: client.vector_stores.files.retrieve(file_id, vector_store_id=provider_id),
    )


def detach(provider_id: str, file_id: str) -> None:
    with suppress(NotThere):
        call(
            "vector_stores.files.delete",
            lambda client: client.vector_stores.files.delete(file_id, vector_store_id=provider_id),
        )


def files_of(provider_id: str) -> "Iterator[RemoteFile]":
    """All files of a store, as the provider has them."""
    return _pages("vector_stores.files.list", lambda client, page: client.vector_stores.files.list(provider_id, **page))


# ------------------------------------------------------------- copies of stored objects


def upload(object_id: UUID, file: IO[bytes], filename: str) -> "FileObject":
    """Copy a file to the provider. Its name there tells of which object it is a copy."""
    named = (f"{_prefix()}{object_id.hex}-{filename}", file)
    return call(
        "files.create",
        lambda client: client.files.create(file=named, purpose=PURPOSE),
        seconds=UPLOAD_SECONDS,
        retries=0,
    )


def find_copy(object_id: UUID) -> "FileObject | None":
    """The copy of an object, though its answer may have been lost."""
    return next((copy for of, copy in copies() if of == object_id), None)


def copies() -> "Iterator[tuple[UUID, FileObject]]":
    """All copies of objects that this installation has made, with the objects' ids; the newest first."""
    listed = _pages("files.list", lambda client, page: client.files.list(purpose=PURPOSE, order="desc", **page))
    for file in listed:
        if file.filename.startswith(_prefix()):
            object_id = parse_uuid(file.filename.removeprefix(_prefix())[:32])
            if object_id is not None:
                yield object_id, file


def remove_file(file_id: str) -> None:
    with suppress(NotThere):
        call("files.delete", lambda client: client.files.delete(file_id))


def _prefix() -> str:
    return f"longshore-{installation()}-"


def _mark(store_id: UUID) -> dict[str, str]:
    return {STORE_MARK: str(store_id), INSTALLATION_MARK: installation()}


def _pages(name: str, ask: Callable[..., Any]) -> Iterator[Any]:
    page: dict[str, Any] = {"limit": PAGE}
    while True:
        found = call(name, lambda client: ask(client, page))  # noqa: B023  (called at once)
        yield from found.data
        if not found.data or not found.has_next_page():
            return
        page = {"limit": PAGE, "after": found.data[-1].id}
