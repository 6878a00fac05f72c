"""The containers of the stand-in: where code runs, and the files in them. They live as long as the stand-in does."""

import os
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from devstack.openai.errors import ApiError, invalid
from devstack.openai.library import Library
from devstack.openai.sandbox import process
from devstack.openai.sandbox.process import Outcome

MINUTES = 20  # of idleness, after which a container expires; the real service allows no more
MOST = 200  # live ones; the one that was idle longest gives way
DATA = "/mnt/data/"  # where files are, as clients see it


@dataclass
class ContainerFile:
    id: str
    name: str  # relative to the container's folder
    created: int
    size: int
    source: str  # user, or assistant: its code has written it


@dataclass
class Container:
    id: str
    name: str
    memory: str
    minutes: int
    folder: Path
    created: int
    last_active: float
    files: dict[str, ContainerFile] = field(default_factory=dict)
    expired: bool = False

    def shape(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "container",
            "created_at": self.created,
            "status": "expired" if self.expired else "running",
            "expires_after": {"anchor": "last_active_at", "minutes": self.minutes},
            "last_active_at": int(self.last_active),
            "memory_limit": self.memory,
            "network_policy": {"type": "disabled"},
            "name": self.name,
        }

    def shape_of(self, file: ContainerFile) -> dict[str, Any]:
        return {
            "id": file.id,
            "object": "container.file",
            "created_at": file.created,
            "bytes": file.size,
            "container_id": self.id,
            "path": DATA + file.name,
            "source": file.source,
        }


class Containers:
    """`library` has the uploaded files, and the clock."""

    def __init__(self, folder: Path, library: Library) -> None:
        self.folder, self.library = folder, library
        self.all: dict[str, Container] = {}
        process.remove(self.folder / "containers")  # of an earlier stand-in

    def now(self) -> float:
        return self.library.now()

    # ------------------------------------------------------------- containers

    def create(self, name: str, memory: str, minutes: int = MINUTES, file_ids: tuple[str, ...] = ()) -> Container:
        """ApiError 404 if a file is not known."""
        contents = [self.library.file(file_id) for file_id in file_ids]
        self._make_room()
        made, now = f"cntr_{uuid4().hex}{uuid4().hex[:16]}", self.now()
        container = Container(made, name, memory, minutes, self.folder / "containers" / made, int(now), now)
        container.folder.mkdir(mode=0o700, parents=True)
        self.all[container.id] = container
        for file in contents:
            self.write(container, file.filename, file.data)
        return container

    def listed(self) -> list[Container]:
        """All of them, those that have expired too, the oldest first."""
        for container in self.all.values():
            self._check_age(container)
        return list(self.all.values())

    def get(self, container_id: str) -> Container:
        """A container, and use it: it lives on from now. ApiError 404 if it is not known."""
        container = self.all.get(container_id)
        if container is None:
            raise ApiError(404, f"Container with id '{container_id}' not found.")
        self._check_age(container)
        if not container.expired:
            container.last_active = self.now()
        return container

    def alive(self, container_id: str) -> Container:
        """Like `get`. ApiError 400 if it has expired."""
        container = self.get(container_id)
        if container.expired:
            raise invalid("Container is expired.")
        return container

    def delete(self, container_id: str) -> None:
        container = self.get(container_id)
        self._empty(container)
        del self.all[container.id]

    def _check_age(self, container: Container) -> None:
        if not container.expired and self.now() - container.last_active > container.minutes * 60:
            self._expire(container)

    def _expire(self, container: Container) -> None:
        container.expired = True
        self._empty(container)

    def _empty(self, container: Container) -> None:
        container.files.clear()
        process.remove(container.folder)

    def _make_room(self) -> None:
        live = sorted((one for one in self.listed() if not one.expired), key=lambda one: one.last_active)
        for container in live[: max(0, len(live) - MOST + 1)]:
            self._expire(container)

    # ------------------------------------------------------------- files

    def write(self, container: Container, filename: str, content: bytes, source: str = "user") -> ContainerFile:
        """Put a file into a container. ApiError 400 if its name or size is not possible."""
        name = filename.replace("\\", "/").rsplit("/", 1)[-1]
        if name in ("", ".", "..") or "\0" in name or len(name.encode()) > 255 or (container.folder / name).is_dir():
            raise invalid("Invalid filename.", "file")
        held = process.usage(container.folder)
        size = sum(size for size, _ in held.values()) + len(content)
        if len(content) > process.FILE_BYTES or size > process.FOLDER_BYTES or len(held) >= process.FOLDER_FILES // 2:
            raise ApiError(413, "The file is too large for this container.")
        (container.folder / name).write_bytes(content)
        return self._record(container, name, source)

    def copy(self, container: Container, file_id: str) -> ContainerFile:
        """Put a file of the Files API into a container. ApiError 404."""
        file = self.library.file(file_id)
        return self.write(container, file.filename, file.data)

    def file(self, container: Container, file_id: str) -> ContainerFile:
        """ApiError 404 if the container has no such file."""
        if file_id not in container.files:
            raise ApiError(404, f"Container file with id '{file_id}' not found.")
        return container.files[file_id]

    def read(self, container: Container, file: ContainerFile) -> bytes:
        """The content. Code cannot make links, but a link would not be followed either."""
        try:
            with os.fdopen(os.open(container.folder / file.name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as opened:
                return opened.read(process.FILE_BYTES + 1)
        except OSError:  # later code has removed it
            del container.files[file.id]
            raise ApiError(404, f"Container file with id '{file.id}' not found.") from None

    def remove(self, container: Container, file: ContainerFile) -> None:
        (container.folder / file.name).unlink(missing_ok=True)
        del container.files[file.id]

    def _record(self, container: Container, name: str, source: str) -> ContainerFile:
        known = next((file for file in container.files.values() if file.name == name), None)
        size = (container.folder / name).lstat().st_size
        file = ContainerFile(known.id if known else f"cfile_{uuid4().hex}", name, int(self.now()), size, source)
        container.files[file.id] = file
        return file

    # ------------------------------------------------------------- code

    def run(self, container: Container, code: str) -> tuple[Outcome, list[ContainerFile]]:
        """Run Python in a fresh process; files stay in the container, variables do not. The files that it has written."""
        if container.expired:  # while it waited
            raise invalid("Container is expired.")
        container.last_active = self.now()
        outcome = process.run(code, container.folder, self.folder / _cache_name(), container.memory)
        container.last_active = self.now()
        visible = [name for name in outcome.written if not any(part.startswith(".") for part in Path(name).parts)]
        return outcome, [self._record(container, name, "assistant") for name in visible]


def _cache_name() -> str:
    try:
        return f"matplotlib-{version('matplotlib')}"
    except PackageNotFoundError:
        return "matplotlib"
