"""In which container an agent's code runs: the one that its tool names, the tenant's for this agent, or one that the provider makes.

A container is named to the provider after the request's digest is taken: another attempt of a run may find another one.
"""

import logging
import time
from typing import Any

from models.containers import states
from models.containers.bindings import container_of
from models.containers.container import CREATING, RUNNING, Container
from models.containers.metrics import OPERATIONS
from models.conversations.code_containers import last_container
from models.platform.database import release, transaction
from models.platform.settings import settings
from workers.agents.items import Item
from workers.agents.providers.client import Wait
from workers.agents.providers.errors import ProviderError
from workers.agents.turn import Turn
from workers.jobs import CONTAINER_CREATE, CONTAINER_REMOVE, enqueue

TOOL, EXPLICIT = (
    "code_interpreter",
    "explicit",
)  # EXPLICIT: instead of an id, for tools that need the tenant's container
OUTPUTS = "code_interpreter_call.outputs"  # without this wish, the provider does not show what the code has drawn
WAIT_SECONDS = 20.0  # for a container that is being made
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
log = logging.getLogger(__name__)


class CodeContainers:
    """Of one turn."""

    def __init__(self, turn: Turn, wait: Wait) -> None:
        self.turn, self.wait = turn, wait
        self.last: str | None = None  # where this conversation's code ran, in a container that the provider made
        self.named: str | None = None  # in the newest request
        self.lost: set[str] = set()  # what the provider does not have any more
        self.has_looked = False

    def place(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request with a container in each code interpreter. ProviderError if the agent needs one that is not there."""
        tools: list[dict[str, Any]] = request["tools"]
        self.named = None
        if not any(tool["type"] == TOOL for tool in tools):
            return request
        placed = [
            {**tool, "container": self._choose(tool["container"])} if tool["type"] == TOOL else tool for tool in tools
        ]
        return {**request, "tools": placed, "include": [*request.get("include", ()), OUTPUTS]}

    def ran(self, item: Item) -> None:
        """A call of the code interpreter has ended. Its container is used again as long as it is there."""
        if item["type"] == TOOL + "_call":
            self.last = item.get("container_id") or self.last

    def replaces(self, error: ProviderError) -> bool:
        """Whether the request can be made again with another container, after this error said that the named one is gone."""
        gone = self.named
        if error.code != "container_expired" or gone is None or gone in self.lost:
            return False
        self.lost.add(gone)
        row = self._bound()
        is_bound = row is not None and row.provider_id == gone
        log.info(
            "agent.container_lost", extra={"agent": self.turn.agent.key, "provider_id": gone, "is_bound": is_bound}
        )
        if gone == self.last:
            self.last = None
            return True
        if row and is_bound:
            with transaction():
                states.refreshed(row, None)
            release()
        return settings.container_fallback_to_auto_on_missing_binding

    # ------------------------------------------------------------- which one

    def _choose(self, declared: str | dict[str, Any]) -> str | dict[str, Any]:
        self.named = self._named(declared)
        if self.named:
            return self.named
        if isinstance(declared, dict):
            return declared
        return {"type": "auto", "memory_limit": settings.container_default_auto_memory}

    def _named(self, declared: str | dict[str, Any]) -> str | None:
        """The id of a container; None if the provider has to make one."""
        may_fall_back = settings.container_fallback_to_auto_on_missing_binding
        if isinstance(declared, str) and declared != EXPLICIT:
            return None if declared in self.lost else declared
        row = self._bound()
        if row is not None:
            if found := self._ready(row, may_replace=may_fall_back):
                return found
            if not may_fall_back:
                raise ProviderError("container_expired")
        elif declared == EXPLICIT and not may_fall_back:
            raise ProviderError("container_missing")
        return self._of_conversation()

    def _bound(self) -> Container | None:
        try:
            return container_of(self.turn.request.tenant_id, self.turn.agent.key)
        finally:
            release()

    def _ready(self, row: Container, *, may_replace: bool) -> str | None:
        """Its id, once it is there; one that is gone is replaced first. None if it is not there in time."""
        if row.status not in (RUNNING, CREATING):
            if not may_replace:
                return None
            _replace(row)
        end, pause = time.monotonic() + WAIT_SECONDS, FIRST_PAUSE
        found: Container | None = row
        while found and found.status != RUNNING and time.monotonic() < end:
            with self.wait():
                time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
            found = Container.live(row.id)
            release()
            if found and found.status not in (RUNNING, CREATING):
                return None
        return found.provider_id if found and found.status == RUNNING else None

    def _of_conversation(self) -> str | None:
        """Where earlier questions of this conversation had their code run, a while ago at most."""
        if not self.has_looked and len(self.turn.request.history) > 1:
            self.last = self.last or last_container(self.turn.request.tenant_id, self.turn.request.conversation_id)
            release()
        self.has_looked = True
        return None if self.last in self.lost else self.last


def _replace(row: Container) -> None:
    """Have the next generation of a container made, unless somebody else has."""
    with OPERATIONS.counted("replace"), transaction():
        begun = states.replace(row)
        if begun:
            tenant_id, container_id = row.tenant_id, str(row.id)
            enqueue(CONTAINER_CREATE, tenant_id=tenant_id, container_id=container_id, generation=begun.generation)
            if row.provider_id:
                enqueue(CONTAINER_REMOVE, tenant_id=tenant_id, container_id=container_id, provider_id=row.provider_id)
    release()
