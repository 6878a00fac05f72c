"""A run's progress as one Redis stream, and the workers' signs of life.

Key schema (REDIS_URL; the broker lives in another database):
    run:<run id>            stream; entry id `<sequence>-0`, fields k=kind, e=the event's JSON, t=1 on the terminal entry
    worker:alive:<owner>    string with a TTL of a few seconds: the queues that this worker process serves

The entry id IS the event's `sequence_number`: (epoch - 1) * 1,000,000 + n. The epoch is the job's claim counter, so a
retried run goes on with larger numbers, and Redis itself refuses what a worker that lost its job still tries to write.
"""

import json
import time
from functools import cache
from itertools import chain, islice
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from models.jobs import LeaseLost
from models.settings import settings

EPOCH_SIZE = 1_000_000
LIVE_SECONDS = 24 * 3600  # no run lasts as long; its terminal event shortens this
ALIVE_SECONDS = 5
REST_SECONDS, LONGEST_REST = 0.001, 0.01  # between two writes: per caller of the one before; altogether


class Entry(NamedTuple):
    sequence: int
    kind: bytes
    data: bytes
    terminal: bool


class Pool(redis.ConnectionPool):
    """redis-py's pool without what half of a command's time went into: counts for telemetry that nobody reads, and a look
    at the idle socket. A connection that died meanwhile is noticed by its next command, which is tried again.
    """

    def get_connection(self, *_: Any, **__: Any):
        self._checkpid()
        try:
            connection = self._available_connections.pop()
        except IndexError:
            connection = self.make_connection()
        self._in_use_connections.add(connection)
        try:
            connection.connect()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection) -> None:
        self._in_use_connections.discard(connection)
        if self.owns_connection(connection):  # not one from before a fork
            self._available_connections.append(connection)


def connect(url: str, **options: Any) -> redis.Redis:
    return redis.Redis(connection_pool=Pool.from_url(url, **options))


@cache
def client() -> redis.Redis:
    # Retries span a restart of the server: a run pauses for it instead of failing.
    return connect(
        settings.redis_url,
        socket_timeout=10,
        socket_connect_timeout=2,
        max_connections=20_000,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.02), 20),
        retry_on_error=[redis.BusyLoadingError, redis.ConnectionError, redis.TimeoutError],
    )


@cache
def quick_client() -> redis.Redis:
    """For requests that would rather hear that Redis is away than wait for it."""
    return connect(
        settings.redis_url,
        socket_timeout=2,
        socket_connect_timeout=1,
        max_connections=20_000,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1),
    )


def stream_key(run_id: UUID | str) -> str:
    return f"run:{run_id}"


def first_sequence(epoch: int) -> int:
    """The number of the first event that the epoch-th claim may write."""
    return (epoch - 1) * EPOCH_SIZE + 1


class Batch:
    """Commands of one caller, and what Redis answered to each."""

    __slots__ = ("commands", "answers", "error", "written")

    def __init__(self, commands: list[tuple]):
        self.commands, self.written = commands, Event()
        self.answers: list[Any] = []
        self.error: Exception | None = None

    def wait(self) -> list[Any]:
        """The answers, errors of single commands among them. Raises when Redis could not be reached."""
        self.written.wait()
        if self.error is not None:
            raise self.error
        return self.answers


class Writer:
    """One thread (or greenlet) per process writes for all its callers, in the order of their calls.

    After a write it rests the longer the more callers there were, so that even more travel together under load. A
    hundred runs that stream at the same time cost a few round trips instead of a hundred; one alone hardly waits.
    """

    def __init__(self) -> None:
        self.queue: SimpleQueue[Batch] = SimpleQueue()
        self.starting = Lock()
        self.thread: Thread | None = None

    def send(self, commands: list[tuple]) -> Batch:
        if self.thread is None:
            self._start()
        batch = Batch(commands)
        self.queue.put(batch)
        return batch

    def _start(self) -> None:
        with self.starting:
            if self.thread is None:
                self.thread = Thread(target=self._write_forever, name="progress", daemon=True)
                self.thread.start()

    def _write_forever(self) -> None:
        while True:
            batches = [self.queue.get()]
            while not self.queue.empty():
                batches.append(self.queue.get())
            self._write(batches)
            time.sleep(min(REST_SECONDS * len(batches), LONGEST_REST))

    def _write(self, batches: list[Batch]) -> None:
        try:
            pipe = client().pipeline(transaction=False)
            for command in chain.from_iterable(batch.commands for batch in batches):
                pipe.execute_command(*command)
            answers = iter(pipe.execute(raise_on_error=False))
            for batch in batches:
                batch.answers = list(islice(answers, len(batch.commands)))
        except Exception as error:  # each caller raises it
            for batch in batches:
                batch.error = error
        finally:
            for batch in batches:
                batch.written.set()


writer = Writer()


class Writing(NamedTuple):
    """Entries on their way to a run's stream."""

    key: str
    last: int
    batch: Batch

    def wait(self) -> None:
        """Returns when they are written. LeaseLost when a newer claim has written already."""
        for answer in self.batch.wait():
            if isinstance(answer, redis.ResponseError) and "equal or smaller" in str(answer):
                _refuse_unless_repeated(self.key, self.last)
            elif isinstance(answer, Exception):
                raise answer


def append(run_id: UUID, events: list[tuple[int, str, bytes]]) -> Writing:
    """Begin to write (sequence, kind, JSON) entries, in one round trip and in the order of the calls."""
    key, last = stream_key(run_id), events[-1][0]
    commands = [("XADD", key, f"{sequence}-0", "k", kind, "e", data) for sequence, kind, data in events]
    if events[0][0] % EPOCH_SIZE == 1:
        commands.append(("EXPIRE", key, LIVE_SECONDS))
    return Writing(key, last, writer.send(commands))


def _refuse_unless_repeated(key: str, sequence: int) -> None:
    # A pipeline repeated after a broken connection meets its own entries: the newest is then of our epoch.
    newest = client().xrevrange(key, count=1)
    if newest and int(newest[0][0].split(b"-")[0]) // EPOCH_SIZE != sequence // EPOCH_SIZE:
        raise LeaseLost(key)


def end(run: Any) -> None:
    """Write the run's terminal event and let the stream expire. Repeatable by anybody: the entry's id is fixed."""
    key, data = stream_key(run.id), encode(run.terminal)
    last = ("XADD", key, f"{run.terminal_sequence}-0", "k", run.terminal["kind"], "e", data, "t", b"1")
    for answer in writer.send([last, ("EXPIRE", key, settings.progress_ttl_seconds)]).wait():
        if isinstance(answer, Exception) and "equal or smaller" not in str(answer):
            raise answer


def encode(value: Any) -> bytes:
    """JSON in one line."""
    try:
        return orjson.dumps(value)
    except TypeError:  # such as a whole number beyond 64 bits, which a model's structured output may hold
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def entry(raw: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    entry_id, fields = raw
    return Entry(int(entry_id[:-2]), fields[b"k"], fields[b"e"], b"t" in fields)


def read(run_id: UUID, after: int = 0, count: int = 500, within: redis.Redis | None = None) -> list[Entry]:
    """Entries with a sequence greater than `after`, oldest first."""
    return [entry(raw) for raw in (within or client()).xrange(stream_key(run_id), min=f"({after}-0", count=count)]


def greet(owner: str, queues: str) -> None:
    client().set(f"worker:alive:{owner}", queues, ex=ALIVE_SECONDS)


def forget_worker(owner: str) -> None:
    quick_client().delete(f"worker:alive:{owner}")


def workers_alive(queue: str | None = None) -> int:
    """Worker processes that gave a sign of life within the last seconds; of one queue, if named."""
    found = quick_client()
    keys = list(found.scan_iter("worker:alive:*", count=1000))
    served = [value.decode().split(",") for value in (found.mget(keys) if keys else []) if value]
    return sum(1 for queues in served if queue is None or queue in queues)
