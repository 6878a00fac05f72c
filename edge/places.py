"""Places that a client network has: for its connections, and for its requests in progress. Counted in memory.

At a network's limit, a new client replaces the oldest one that waits for what the other side sends. So whoever opens much,
and sends nothing or sends slowly, keeps nobody else out.
"""

from collections.abc import Hashable
from threading import Lock
from typing import Protocol

from edge import metrics


class Client(Protocol):
    """`waits`: nothing is being done for it, its next bytes are awaited."""

    waits: bool

    def hang_up(self) -> None: ...


class Places:
    """`reason`: under which refusals and replacements are counted. `None` for a client: it cannot be replaced."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.open: dict[str, dict[Hashable, Client | None]] = {}
        self.lock = Lock()

    def add(self, network: str, key: Hashable, client: Client | None, limit: int) -> bool:
        """Whether there is a place, for which another client may have been cut off. A limit of 0 is off."""
        with self.lock:
            own = self.open.setdefault(network, {})
            if 0 < limit <= len(own) and not self._make_room(own):
                return False
            own[key] = client
            return True

    def remove(self, network: str, key: Hashable) -> None:
        with self.lock:
            own = self.open.get(network, {})
            own.pop(key, None)
            if not own:
                self.open.pop(network, None)

    def _make_room(self, own: dict[Hashable, Client | None]) -> bool:
        metrics.REFUSED.labels(self.reason).inc()
        for key, client in own.items():
            if client is not None and client.waits:
                del own[key]
                client.hang_up()
                return True
        return False
