"""One reader per edge process for all that its clients follow: it fills their mailboxes.

A client whose mailbox overflows reads for itself until it has caught up. Postgres answers for what Redis lost.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

import gevent
import redis

from edge.entries import RawEntry, entries_of, last_entry, sequence_of, streams_of
from edge.mailbox import MAILBOX, Client
from edge.topics import BILLING, RUN, Topic
from models.billing import events
from models.platform.database import release
from models.platform.redis import fast_redis_client
from models.platform.settings import settings
from models.runs.run import Run

log = logging.getLogger(__name__)
Silent: TypeAlias = dict[UUID, list[Client]]  # the clients that have got nothing for a while, by what they follow
BATCH = 500  # entries in one read of one stream
BLOCK_MILLISECONDS = 5000  # the longest time that a read waits inside Redis
READ_TIMEOUT = 15  # seconds; must be longer than BLOCK_MILLISECONDS
RETRY_SECONDS = 0.2  # pause after a failed read
# The hub pauses after each read, so that the next one returns more: a read costs in proportion to the streams it names.
PAUSE_SECONDS, LONGEST_PAUSE = 0.0005, 0.01  # per watched stream after the first; in total
TICK_SECONDS = 3  # how often silent topics are looked up in Postgres
HEARTBEAT_TICKS = 5  # a silent client gets a heartbeat after this many ticks


@dataclass(slots=True)
class WatchedStream:
    """A stream with at least one follower."""

    last_id: bytes  # of the newest entry that was delivered
    clients: list[Client] = field(default_factory=list)


def connect() -> Any:
    """A connection for the reader alone: its blocking read would delay the commands of everyone else."""
    return redis.Redis.from_url(
        settings.redis_url.get_secret_value(), single_connection_client=True, socket_timeout=READ_TIMEOUT
    )


class Hub:
    """The reader and its clients. Both greenlets start with the first client.

    `connect` opens the reader's connection, `batch` is the number of entries per read and stream, `mailbox` the
    capacity of a client in entries, and `tick_seconds` the time between two lookups of silent topics. `resting` returns
    those of the given runs that have ended or wait, `positions` the number of the newest event of each given tenant.
    """

    def __init__(
        self,
        connect: Callable[[], Any] = connect,
        *,
        batch: int = BATCH,
        mailbox: int = MAILBOX,
        tick_seconds: float = TICK_SECONDS,
        resting: Callable[[list[UUID]], list[Run]] = Run.resting_among,
        positions: Callable[[list[UUID]], dict[UUID, int]] = events.positions,
    ) -> None:
        self.connect, self.batch, self.mailbox = connect, batch, mailbox
        self.tick_seconds, self.resting, self.positions = tick_seconds, resting, positions
        self.watched: dict[bytes, WatchedStream] = {}
        self.control = f"hub:{os.getpid()}:{time.time_ns()}".encode()
        self.blocked = False
        self.greenlets: list[gevent.Greenlet] = []

    def join(self, topic: Topic, after: int) -> Client:
        """Follow a topic from the number `after`. The client is registered before it reads, so it misses nothing."""
        stream = self.watched.get(topic.key)
        client = Client(topic, after, must_read=stream is not None, capacity=self.mailbox)
        if stream is None:
            stream = self.watched[topic.key] = WatchedStream(b"%d-0" % after)
        elif after < sequence_of(stream.last_id):
            # An earlier client may have sent a cursor beyond the end; clients drop entries that they get twice.
            stream.last_id = b"%d-0" % after
        stream.clients.append(client)
        if client.must_read:
            client.wake.set()
        try:
            self._wake_reader()
        except BaseException:  # such as the timeout of relay.wait, during the write to Redis
            self.leave(client)
            raise
        if not self.greenlets:
            self.greenlets = [gevent.spawn(self._read_forever), gevent.spawn(self._check_silent_topics)]
        return client

    def leave(self, client: Client) -> None:
        key = client.topic.key
        clients = self.watched[key].clients
        clients.remove(client)
        if not clients:
            del self.watched[key]

    def wake(self, topic: Topic) -> None:
        """Give every client of a topic a batch at once, if only an empty one."""
        stream = self.watched.get(topic.key)
        for client in stream.clients if stream else ():
            client.wake.set()

    def _wake_reader(self) -> None:
        """End the reader's blocking read, if it is in one, so that the next read names the new stream too."""
        if not self.blocked:
            return
        self.blocked = False
        try:
            fast_redis_client().xadd(self.control, {"w": 1}, maxlen=1)
        except redis.RedisError as error:  # the reader's own read fails too, and its next one names every stream
            log.warning("relay.wake_failed", extra={"reason": repr(error)})

    def _read_forever(self) -> None:
        control_id, connection = b"0", self.connect()
        while True:
            last_ids = {key: stream.last_id for key, stream in self.watched.items()}
            last_ids[self.control] = control_id
            self.blocked = True
            try:
                answer = connection.xread(last_ids, count=self.batch, block=BLOCK_MILLISECONDS)
            except Exception as error:  # noqa: BLE001  (every stream of this process depends on this greenlet)
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
            gevent.sleep(pause_after(len(self.watched)))

    def _deliver(self, key: bytes, raw: list[RawEntry]) -> None:
        stream = self.watched.get(key)
        if stream is None:  # its last client left during the read
            return
        stream.last_id = raw[-1][0]
        entries = entries_of(key, raw)
        if entries:
            for client in stream.clients:
                client.put(entries)

    def _check_silent_topics(self) -> None:
        """Look up silent topics in Postgres: Redis may have lost their last event, or its writer died before sending it."""
        while True:
            gevent.sleep(self.tick_seconds)
            silent = self._silent_clients()
            for kind, look_up in ((RUN, self._conclude_runs), (BILLING, self._catch_up_tenants)):
                try:
                    if silent[kind]:
                        look_up(silent[kind])
                except Exception as error:  # noqa: BLE001  (Postgres is away; the next tick tries again)
                    log.warning("relay.database_away", extra={"reason": repr(error)})
                finally:
                    release()

    def _conclude_runs(self, silent: Silent) -> None:
        for run in self.resting(list(silent)):
            conclude(run, silent[run.id])

    def _catch_up_tenants(self, silent: Silent) -> None:
        for tenant_id, position in self.positions(list(silent)).items():
            for client in silent[tenant_id]:
                if client.cursor < position:
                    client.read_again()

    def _silent_clients(self) -> dict[str, Silent]:
        """The clients that got nothing since the last tick, by kind and topic. Some of them are woken for a heartbeat."""
        silent: dict[str, Silent] = {RUN: {}, BILLING: {}}
        for stream in list(self.watched.values()):
            for client in stream.clients:
                client.silent_ticks += 1
                if client.silent_ticks > 1:
                    silent[client.topic.kind].setdefault(client.topic.id, []).append(client)
                if client.silent_ticks % HEARTBEAT_TICKS == 0:
                    client.wake.set()
        return silent


def pause_after(streams: int) -> float:
    """Seconds to pause after a read of this many streams."""
    return min(PAUSE_SECONDS * (streams - 1), LONGEST_PAUSE) if streams > 1 else 0.0


def conclude(run: Run, clients: list[Client]) -> None:
    """Send the last event of a run that has ended or waits to its silent clients."""
    try:
        entry = last_entry(run)
    except ValueError as error:
        log.warning("relay.end_missing", extra={"run_id": str(run.id), "reason": repr(error)})
        return
    for client in clients:
        client.put([entry])


hub = Hub()
