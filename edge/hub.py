"""One reader per edge process for all watched runs: it fills the mailboxes of the clients that follow them.

A client whose mailbox overflows reads Redis on its own until it has caught up. Postgres answers for what Redis lost.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import gevent
import redis
from gevent.event import Event

from models.platform.database import release
from models.platform.json import encode
from models.platform.redis import fast_redis_client
from models.platform.settings import settings
from models.runs import progress
from models.runs.progress import Entry
from models.runs.run import Run

log = logging.getLogger(__name__)
BATCH = 500  # entries in one read of one stream
BLOCK_MILLISECONDS = 5000  # the longest that a read waits inside Redis
READ_TIMEOUT = 15  # seconds; longer than a read may wait
RETRY_SECONDS = 0.2  # between reads while Redis is away
MAILBOX = 2000  # entries that wait for a slow client
# After a read the hub rests, so that the next one brings more: a read costs in proportion to the streams it names.
REST_SECONDS, LONGEST_REST = 0.0005, 0.01  # per watched stream beside the first; altogether
TICK_SECONDS = 3  # how often silent runs are looked up in Postgres
SILENCE_TICKS = 5  # after so many silent ticks a client gets a sign of life


class Client:
    """One reader of one run."""

    __slots__ = ("entries", "must_read", "quiet", "run_id", "wake")

    def __init__(self, run_id: UUID, must_read: bool) -> None:
        self.run_id, self.must_read = run_id, must_read
        self.entries: list[Entry] = []
        self.wake = Event()
        self.quiet = 0  # ticks without an entry

    def put(self, entries: list[Entry]) -> None:
        """Add to the mailbox. A full one is emptied: the client then reads Redis itself."""
        self.quiet = 0
        if len(self.entries) + len(entries) > MAILBOX:
            self.entries, self.must_read = [], True
        else:
            self.entries += entries
        self.wake.set()

    def take(self) -> list[Entry]:
        """Wait for entries and empty the mailbox. An empty list is a sign of life, or means that `must_read` is set."""
        self.wake.wait()
        self.wake.clear()
        taken, self.entries = self.entries, []
        return taken


@dataclass(slots=True)
class Watched:
    """A run's stream that somebody follows."""

    last_id: bytes  # of the newest entry that was delivered
    clients: list[Client] = field(default_factory=list)


def connect() -> Any:
    """A connection of the reader's own: its blocking read would hold up everybody else's commands."""
    return redis.Redis.from_url(settings.redis_url, single_connection_client=True, socket_timeout=READ_TIMEOUT)


class Hub:
    """`connect` opens the reader's connection. The greenlets start with the first client."""

    def __init__(self, connect: Callable[[], Any] = connect) -> None:
        self.connect = connect
        self.watched: dict[bytes, Watched] = {}
        self.control = f"hub:{os.getpid()}:{time.time_ns()}".encode()
        self.blocked = False
        self.greenlets: list[gevent.Greenlet] = []

    def join(self, run_id: UUID, after: int) -> Client:
        """Watch a run from sequence `after` on. Registering comes before any reading, so that nothing is missed."""
        key = progress.stream_key(run_id).encode()
        watched = self.watched.get(key)
        client = Client(run_id, must_read=watched is not None)
        if watched is None:
            watched = self.watched[key] = Watched(b"%d-0" % after)
        elif after < sequence_of(watched.last_id):
            # An earlier client may have named a cursor beyond the stream's end; entries seen twice are dropped.
            watched.last_id = b"%d-0" % after
        watched.clients.append(client)
        if client.must_read:
            client.wake.set()
        self._nudge()
        if not self.greenlets:
            self.greenlets = [gevent.spawn(self._read_forever), gevent.spawn(self._check_silent_runs)]
        return client

    def leave(self, client: Client) -> None:
        key = progress.stream_key(client.run_id).encode()
        clients = self.watched[key].clients
        clients.remove(client)
        if not clients:
            del self.watched[key]

    def _nudge(self) -> None:
        """Wake the reader if it waits inside Redis: it must name the new stream as well."""
        if not self.blocked:
            return
        self.blocked = False
        try:
            fast_redis_client().xadd(self.control, {"w": 1}, maxlen=1)
        except redis.RedisError as error:  # the reader is about to notice too, and then names all streams anew
            log.warning("relay.nudge_failed", extra={"reason": repr(error)})

    def _read_forever(self) -> None:
        control_id, connection = b"0", self.connect()
        while True:
            keys = {key: watched.last_id for key, watched in self.watched.items()}
            keys[self.control] = control_id
            self.blocked = True
            try:
                answer = connection.xread(keys, count=BATCH, block=BLOCK_MILLISECONDS)
            except Exception as error:  # noqa: BLE001  (all streams of this process depend on this greenlet)
                log.warning("relay.redis_away", extra={"reason": repr(error)})
                gevent.sleep(RETRY_SECONDS)
                continue
            finally:
                self.blocked = False
            for key, raw in streams_of(answer):
                if key == self.control:
                    control_id = raw[-1][0]
                else:
                    self._deliver(key, raw)
            gevent.sleep(rest_after(len(self.watched)))

    def _deliver(self, key: bytes, raw: list[Any]) -> None:
        watched = self.watched.get(key)
        if watched is None:  # its last client has left meanwhile
            return
        watched.last_id = raw[-1][0]
        entries = [progress.entry(item) for item in raw]
        for client in watched.clients:
            client.put(entries)

    def _check_silent_runs(self) -> None:
        """Ask Postgres which silent runs have ended: Redis may have lost a terminal event, or nobody lived to send it."""
        while True:
            gevent.sleep(TICK_SECONDS)
            silent = self._silent_clients()
            try:
                for run in Run.finished_among(list(silent)) if silent else ():
                    for client in silent[run.id]:
                        client.put([last_entry(run)])
            except Exception as error:  # noqa: BLE001  (Postgres is away; the next tick asks again)
                log.warning("relay.database_away", extra={"reason": repr(error)})
            finally:
                release()

    def _silent_clients(self) -> dict[UUID, list[Client]]:
        """The clients without an entry since the tick before, by run. Some are woken for a sign of life."""
        silent: dict[UUID, list[Client]] = {}
        for watched in list(self.watched.values()):
            for client in watched.clients:
                client.quiet += 1
                if client.quiet > 1:
                    silent.setdefault(client.run_id, []).append(client)
                if client.quiet % SILENCE_TICKS == 0:
                    client.wake.set()
        return silent


def rest_after(streams: int) -> float:
    """Seconds to rest after a read of so many streams."""
    return min(REST_SECONDS * (streams - 1), LONGEST_REST) if streams > 1 else 0.0


def sequence_of(entry_id: bytes) -> int:
    return int(entry_id[:-2])


def streams_of(answer: Any) -> Any:
    """XREAD's answer as (key, entries) pairs, whichever protocol version the connection speaks."""
    if isinstance(answer, dict):
        return [(key, raw[0] if raw and isinstance(raw[0], list) else raw) for key, raw in answer.items()]
    return answer or ()


def last_entry(run: Run) -> Entry:
    """The terminal event of a run that has ended, as Postgres keeps it."""
    if run.terminal is None or run.terminal_sequence is None:
        raise ValueError(f"The run {run.id} has not ended.")
    return Entry(run.terminal_sequence, run.terminal["kind"].encode(), encode(run.terminal), True)


hub = Hub()
