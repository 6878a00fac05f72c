"""Which worker processes are alive, by a heartbeat in Redis.

Key: `worker:alive:<owner>`, a string that expires after a few seconds: the queues that this process serves.
"""

from models.platform.redis import fast_redis_client, redis_client

ALIVE_SECONDS = 5


def report(owner: str, queues: str) -> None:
    """Count this process as alive for ALIVE_SECONDS. `queues`: the names of those it serves, separated by commas."""
    redis_client().set(f"worker:alive:{owner}", queues, ex=ALIVE_SECONDS)


def remove(owner: str) -> None:
    fast_redis_client().delete(f"worker:alive:{owner}")


def workers_alive(queue: str | None = None) -> int:
    """How many worker processes have reported within ALIVE_SECONDS; with `queue`, only those that serve it."""
    client = fast_redis_client()
    keys = list(client.scan_iter("worker:alive:*", count=1000))
    values = client.mget(keys) if keys else []
    queue_lists = [value.decode().split(",") for value in values if isinstance(value, bytes)]
    return sum(1 for queues in queue_lists if queue is None or queue in queues)
