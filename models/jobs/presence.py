"""Which worker processes are alive, by a heartbeat in Redis.

Key: `worker:alive:<owner>`, a string that expires after a few seconds: the queues that this process serves.
"""

from models.platform.redis import fast_redis_client, redis_client

ALIVE_SECONDS = 5


def announce(owner: str, queues: str) -> None:
    redis_client().set(f"worker:alive:{owner}", queues, ex=ALIVE_SECONDS)


def withdraw(owner: str) -> None:
    fast_redis_client().delete(f"worker:alive:{owner}")


def workers_alive(queue: str | None = None) -> int:
    """Worker processes that gave a sign of life within the last seconds; of one queue, if named."""
    found = fast_redis_client()
    keys = list(found.scan_iter("worker:alive:*", count=1000))
    served = [value.decode().split(",") for value in (found.mget(keys) if keys else []) if value]
    return sum(1 for queues in served if queue is None or queue in queues)
