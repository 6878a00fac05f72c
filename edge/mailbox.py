"""A follower of a run, as the hub sees it: a mailbox that the hub fills and the client empties."""

from uuid import UUID

from gevent.event import Event

from models.runs.progress import Entry

MAILBOX = 2000  # entries kept for a slow client


class Client:
    """One follower of one run, with a mailbox for up to `capacity` entries."""

    __slots__ = ("capacity", "entries", "must_read", "run_id", "silent_ticks", "wake")

    def __init__(self, run_id: UUID, must_read: bool, capacity: int = MAILBOX) -> None:
        self.run_id, self.must_read, self.capacity = run_id, must_read, capacity
        self.entries: list[Entry] = []
        self.wake = Event()
        self.silent_ticks = 0

    def put(self, entries: list[Entry]) -> None:
        """Add to the mailbox. If it would overflow, empty it: the client then reads Redis itself."""
        self.silent_ticks = 0
        if len(self.entries) + len(entries) > self.capacity:
            self.entries, self.must_read = [], True
        else:
            self.entries += entries
        self.wake.set()

    def take(self) -> list[Entry]:
        """Wait for entries and empty the mailbox. An empty list is a heartbeat, or means that `must_read` is set."""
        self.wake.wait()
        self.wake.clear()
        entries, self.entries = self.entries, []
        return entries
