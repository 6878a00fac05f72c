"""A line in which requests wait for their turn. Networks take turns, so that a crowd delays mostly itself."""

from collections import deque
from threading import Event, Lock


class LineFull(Exception):
    """Too many wait already, in total or of this network."""


class Line:
    """Lets `size` greenlets, or threads, work at once."""

    def __init__(self, size: int) -> None:
        self.free, self.lock = size, Lock()
        self.waiting: dict[str, deque[Event]] = {}  # by network; whose turn is next stands first

    def enter(self, network: str, limit: int, limit_per_network: int) -> None:
        """Wait for a turn. LineFull at once, if `limit` others wait, or `limit_per_network` of this network."""
        with self.lock:
            if self.free:
                self.free -= 1
                return
            own = self.waiting.get(network, ())
            if len(own) >= limit_per_network or sum(map(len, self.waiting.values())) >= limit:
                raise LineFull()
            turn = Event()
            self.waiting.setdefault(network, deque()).append(turn)
        try:
            turn.wait()
        except BaseException:  # the greenlet was killed
            self._give_up(network, turn)
            raise

    def leave(self) -> None:
        """Pass the turn on to whoever is next."""
        with self.lock:
            network = next(iter(self.waiting), None)
            if network is None:
                self.free += 1
                return
            own = self.waiting.pop(network)
            own.popleft().set()
            if own:
                self.waiting[network] = own  # behind the others

    def _give_up(self, network: str, turn: Event) -> None:
        if turn.is_set():
            self.leave()
            return
        with self.lock:
            self.waiting[network].remove(turn)
            if not self.waiting[network]:
                del self.waiting[network]
