"""A follower, as the hub sees it: a mailbox that the hub fills and the client empties."""

from gevent.event import Event

from edge.topics import Topic
from models.runs.progress import Entry

MAILBOX = 2000  # entries kept for a slow client


class Client:
    """One follower of one topic, with a mailbox for up to `capacity` entries. `cursor`: the number of its last entry."""

    __slots__ = ("capacity", "cursor", "entries", "must_read", "silent_ticks", "topic", "wake")

    def __init__(self, topic: Topic, cursor: int, must_read: bool, capacity: int = MAILBOX) -> None:
        self.topic, self.cursor, self.must_read, self.capacity = topic, cursor, must_read, capacity
        self.entries: list[Entry] = []
        self.wake = Event()
        self.silent_ticks = 0

    def put(self, entries: list[Entry]) -> None:
        """Add to the mailbox. If it would overflow, empty it: the client then reads for itself."""
        self.silent_ticks = 0
        if len(self.entries) + len(entries) > self.capacity:
            self.entries, self.must_read = [], True
        else:
            self.entries += entries
        self.wake.set()

    def read_again(self) -> None:
        """Make the client read for itself what it has missed."""
        self.must_read = True
        self.wake.set()

    def take(self) -> list[Entry]:
        """Wait for entries and empty the mailbox. An empty list is a heartbeat, or means that `must_read` is set."""
        self.wake.wait()
        self.wake.clear()
        entries, self.entries = self.entries, []
        return entries
