"""A run's progress as one Redis stream.

Key schema (REDIS_URL; the broker lives in another database):
    run:<run id>            stream; entry id `<sequence>-0`, fields k=kind, e=the event's JSON, t=1 on the terminal entry,
                            w=1 on an entry after which the run waits for a person

    run:<run id>:writers    hash, only of a run with several jobs: job id -> stamp of its last write

The entry id is the event's `sequence_number`: (epoch - 1) * 1,000,000 + n. The epoch counts the claims of the run's job, so
a retried run continues with larger numbers, and Redis refuses the late writes of a worker that has lost its job. The events
of a run with several jobs are numbered by Redis itself: models/runs/shared_progress.py.
"""

import logging
import time
from collections.abc import Callable, Iterable
from itertools import chain, islice
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import redis

from models.jobs.ledger import LeaseLost
from models.platform.json import encode
from models.platform.redis import fast_redis_client, redis_client
from models.platform.settings import settings

if TYPE_CHECKING:
    from models.runs.run import Run

__all__ = [
    "Append",
    "Entry",
    "Writer",
    "append",
    "encode",
    "entry",
    "first_sequence",
    "read",
    "send_terminal",
    "send_terminal_or_log",
    "send_waiting_or_log",
    "stream_key",
    "writers_key",
]
log = logging.getLogger(__name__)
Command = tuple[str | bytes | int, ...]
EPOCH_SIZE = 1_000_000
LIVE_SECONDS = 24 * 3600  # longer than any run; the terminal event shortens it
SLEEP_SECONDS, LONGEST_SLEEP = 0.001, 0.01  # between two writes: for each caller of the last write, and at most


class Entry(NamedTuple):
    sequence: int
    kind: bytes
    data: bytes
    terminal: bool
    waits: bool = False


def stream_key(run_id: UUID | str) -> str:
    return f"run:{run_id}"


def writers_key(run_id: UUID | str) -> str:
    return f"{stream_key(run_id)}:writers"


def first_sequence(epoch: int) -> int:
    """The number of the first event of this epoch. Epochs count from 1."""
    return (epoch - 1) * EPOCH_SIZE + 1


class Batch:
    """Commands of one caller, and what Redis answered to each."""

    __slots__ = ("answers", "commands", "error", "is_done")

    def __init__(self, commands: list[Command]) -> None:
        self.commands, self.is_done = commands, Event()
        self.answers: list[Any] = []
        self.error: Exception | None = None

    def wait(self) -> list[Any]:
        """The answers, which may include errors of single commands. Raises if Redis could not be reached."""
        self.is_done.wait()
        if self.error is not None:
            raise self.error
        return self.answers


class Writer:
    """One thread (or greenlet) per process writes for all callers, in the order of their calls.

    After each write it sleeps, longer if there were more callers, so that more commands share the next round trip. A
    hundred concurrent runs cost a few round trips instead of a hundred; a single one hardly waits.
    """

    def __init__(self, connect: Callable[[], redis.Redis]) -> None:
        self.connect = connect
        self.queue: SimpleQueue[Batch] = SimpleQueue()
        self.start_lock = Lock()
        self.thread: Thread | None = None

    def send(self, commands: list[Command]) -> Batch:
        """Queue commands to be written. Returns at once."""
        if self.thread is None:
            self._start()
        batch = Batch(commands)
        self.queue.put(batch)
        return batch

    def flush(self, seconds: float) -> None:
        """Wait until all that was sent is written, `seconds` at most. For processes that end soon: their thread ends with them."""
        if self.thread is not None:
            self.send([]).is_done.wait(seconds)

    def _start(self) -> None:
        with self.start_lock:
            if self.thread is None:
                self.thread = Thread(target=self._write_forever, name="progress", daemon=True)
                self.thread.start()

    def _write_forever(self) -> None:
        while True:
            batches = [self.queue.get()]
            while not self.queue.empty():
                batches.append(self.queue.get())
            self._write(batches)
            time.sleep(min(SLEEP_SECONDS * len(batches), LONGEST_SLEEP))

    def _write(self, batches: list[Batch]) -> None:
        try:
            answers = iter(_execute(self.connect(), chain.from_iterable(batch.commands for batch in batches)))
            for batch in batches:
                batch.answers = list(islice(answers, len(batch.commands)))
        except Exception as error:  # noqa: BLE001  (raised again by each caller's wait())
            for batch in batches:
                batch.error = error
        finally:
            for batch in batches:
                batch.is_done.set()


writer = Writer(redis_client)


class Append(NamedTuple):
    """Entries on their way to a run's stream."""

    key: str
    last_sequence: int
    batch: Batch

    def wait(self) -> None:
        """Wait until the entries are written. LeaseLost if a newer claim has already written to the stream."""
        for answer in self.batch.wait():
            if _is_out_of_order(answer):
                _raise_if_fenced(self.key, self.last_sequence)
            elif isinstance(answer, Exception):
                raise answer


def append(run_id: UUID, entries: list[tuple[int, str, bytes]]) -> Append:
    """Start to write (sequence, kind, JSON) entries. They travel in one round trip, in the order of the calls."""
    key, last_sequence = stream_key(run_id), entries[-1][0]
    commands: list[Command] = [("XADD", key, f"{sequence}-0", "k", kind, "e", data) for sequence, kind, data in entries]
    if entries[0][0] % EPOCH_SIZE == 1:
        commands.append(("EXPIRE", key, LIVE_SECONDS))
    return Append(key, last_sequence, writer.send(commands))


def send_terminal(run: "Run") -> None:
    """Write the run's terminal event and let the stream expire. Anyone may repeat this: the entry's id is fixed."""
    _check_terminal(writer.send(_terminal_commands(run)).wait())


def send_terminal_or_log(run: "Run") -> None:
    """Like `send_terminal`, but it gives up within seconds while Redis is down. Clients then get the stored event."""
    _send_or_log(run, _terminal_commands(run))


def send_waiting_or_log(run: "Run") -> None:
    """Write the event that says that the run waits. Like the terminal event it may be repeated, and is stored."""
    if run.waiting is None:
        raise ValueError(f"run {run.id} has not waited")
    add = ("XADD", stream_key(run.id), f"{run.waiting_sequence}-0", "k", run.waiting["kind"], "e", encode(run.waiting))
    _send_or_log(run, [(*add, "w", b"1"), ("EXPIRE", stream_key(run.id), LIVE_SECONDS)])


def _send_or_log(run: "Run", commands: list[Command]) -> None:
    try:
        _check_terminal(_execute(fast_redis_client(), commands))
    except redis.RedisError as error:
        log.warning("run.event_not_sent", extra={"run_id": str(run.id), "reason": repr(error)})


def entry(raw: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    """An entry as XRANGE and XREAD return it."""
    entry_id, fields = raw
    return Entry(int(entry_id[:-2]), fields[b"k"], fields[b"e"], b"t" in fields, b"w" in fields)


def read(run_id: UUID, after: int = 0, count: int = 500, within: redis.Redis | None = None) -> list[Entry]:
    """At most `count` entries with a sequence greater than `after`, oldest first. `within`: the client to read with."""
    rows: Any = (within or redis_client()).xrange(stream_key(run_id), min=f"({after}-0", count=count)
    return [entry(row) for row in rows]


def _execute(client: redis.Redis, commands: Iterable[Command]) -> list[Any]:
    """Run the commands in one round trip. Errors of single commands are among the answers."""
    pipe = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    return pipe.execute(raise_on_error=False)


def _terminal_commands(run: "Run") -> list[Command]:
    if run.terminal is None:
        raise ValueError(f"run {run.id} has not ended")
    key, data = stream_key(run.id), encode(run.terminal)
    add = ("XADD", key, f"{run.terminal_sequence}-0", "k", run.terminal["kind"], "e", data, "t", b"1")
    expiry = settings.progress_ttl_seconds
    return [add, ("EXPIRE", key, expiry), ("EXPIRE", writers_key(run.id), expiry)]


def _check_terminal(answers: list[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Exception) and not _is_out_of_order(answer):
            raise answer


def _is_out_of_order(answer: object) -> bool:
    """Whether Redis refused an entry because the stream already holds its id or a later one."""
    return isinstance(answer, redis.ResponseError) and "equal or smaller" in str(answer)


def _raise_if_fenced(key: str, sequence: int) -> None:
    # After a broken connection a pipeline is repeated and meets its own entries. Then the newest is of the same epoch.
    newest: Any = redis_client().xrevrange(key, count=1)
    if newest and int(newest[0][0].split(b"-")[0]) // EPOCH_SIZE != sequence // EPOCH_SIZE:
        raise LeaseLost(key)
