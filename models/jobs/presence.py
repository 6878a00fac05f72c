"""Which processes are alive, by a heartbeat in Redis.

Keys, strings that expire after a few seconds:
    worker:alive:<owner>      the queues that this worker process serves
    scheduler:alive:<owner>   empty
An owner begins with the name of its host and a colon.
"""

import socket

from models.platform.redis import fast_redis_client, redis_client

ALIVE_SECONDS = 5


def report(owner: str, queues: str) -> None:
    """Count this process as alive for ALIVE_SECONDS. `queues`: the names of those it serves, separated by commas."""
    redis_client().set(f"worker:alive:{owner}", queues, ex=ALIVE_SECONDS)


def remove(owner: str) -> None:
    fast_redis_client().delete(f"worker:alive:{owner}")


def report_scheduler(owner: str) -> None:
    """Count this scheduler as alive for ALIVE_SECONDS, whether it works or waits for the lock."""
    fast_redis_client().set(f"scheduler:alive:{owner}", "", ex=ALIVE_SECONDS)


def is_alive_here(process: str) -> bool:
    """Whether a `worker` or `scheduler` on this host has reported within ALIVE_SECONDS."""
    pattern = f"{process}:alive:{socket.gethostname()}:*"
    return any(True for _ in fast_redis_client().scan_iter(pattern, count=1000))


def workers_alive(queue: str | None = None) -> int:
    """How many worker processes have reported within ALIVE_SECONDS; with `queue`, only those that serve it."""
    client = fast_redis_client()
    keys = list(client.scan_iter("worker:alive:*", count=1000))
    values = client.mget(keys) if keys else []
    queue_lists = [value.decode().split(",") for value in values if isinstance(value, bytes)]
    return sum(1 for queues in queue_lists if queue is None or queue in queues)
