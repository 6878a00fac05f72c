"""A run's progress as one Redis stream, and the workers' signs of life.

Key schema (REDIS_URL; the broker lives in another database):
    run:<run id>            stream; entry id `<sequence>-0`, fields k=kind, e=the event's JSON, t=1 on the terminal entry
    worker:alive:<owner>    string with a TTL of a few seconds: the queues that this worker process serves

The entry id IS the event's `sequence_number`: (epoch - 1) * 1,000,000 + n. The epoch is the job's claim counter, so a
retried run goes on with larger numbers, and Redis itself refuses what a worker that lost its job still tries to write.
"""

import json
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from models.jobs import LeaseLost
from models.settings import settings

EPOCH_SIZE = 1_000_000
LIVE_SECONDS = 24 * 3600  # no run lasts as long; its terminal event shortens this
ALIVE_SECONDS = 5


class Entry(NamedTuple):
    sequence: int
    kind: bytes
    data: bytes
    terminal: bool


@cache
def client() -> redis.Redis:
    # Retries span a restart of the server: a run pauses for it instead of failing.
    return redis.Redis.from_url(
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
    return redis.Redis.from_url(
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


def append(run_id: UUID, events: list[tuple[int, str, bytes]]) -> None:
    """Write (sequence, kind, JSON) entries in one round trip. LeaseLost when a newer claim has written already."""
    key = stream_key(run_id)
    pipe = client().pipeline(transaction=False)
    for sequence, kind, data in events:
        pipe.xadd(key, {"k": kind, "e": data}, id=f"{sequence}-0")
    if events[0][0] % EPOCH_SIZE == 1:
        pipe.expire(key, LIVE_SECONDS)
    for answer in pipe.execute(raise_on_error=False):
        if isinstance(answer, redis.ResponseError) and "equal or smaller" in str(answer):
            _refuse_unless_repeated(key, events[-1][0])
        elif isinstance(answer, Exception):
            raise answer


def _refuse_unless_repeated(key: str, sequence: int) -> None:
    # A pipeline repeated after a broken connection meets its own entries: the newest is then of our epoch.
    newest = client().xrevrange(key, count=1)
    if newest and int(newest[0][0].split(b"-")[0]) // EPOCH_SIZE != sequence // EPOCH_SIZE:
        raise LeaseLost(key)


def end(run: Any) -> None:
    """Write the run's terminal event and let the stream expire. Repeatable by anybody: the entry's id is fixed."""
    key, sequence = stream_key(run.id), run.terminal_sequence
    pipe = client().pipeline(transaction=False)
    pipe.xadd(key, {"k": run.terminal["kind"], "e": encode(run.terminal), "t": b"1"}, id=f"{sequence}-0")
    pipe.expire(key, settings.progress_ttl_seconds)
    for answer in pipe.execute(raise_on_error=False):
        if isinstance(answer, Exception) and "equal or smaller" not in str(answer):
            raise answer


def encode(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def entry(raw: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    entry_id, fields = raw
    return Entry(int(entry_id[:-2]), fields[b"k"], fields[b"e"], b"t" in fields)


def read(run_id: UUID, after: int = 0, count: int = 500) -> list[Entry]:
    """Entries with a sequence greater than `after`, oldest first."""
    return [entry(raw) for raw in client().xrange(stream_key(run_id), min=f"({after}-0", count=count)]


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
