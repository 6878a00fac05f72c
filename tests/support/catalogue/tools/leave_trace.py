"""A tool of the tests. Each call appends "<begin|end|stopped> <idempotency key> <time>" to the Redis list `calls`."""

import time

from models.platform.redis import redis_client
from workers.agents.functions import ToolsContext, tool


@tool("test", seconds=120)
def leave_trace(context: ToolsContext, seconds: float) -> str:
    """Takes that long."""

    def mark(what: str) -> None:
        redis_client().rpush("calls", f"{what} {context.idempotency_key} {time.time()}")

    mark("begin")
    try:
        time.sleep(seconds)
    except BaseException:
        mark("stopped")
        raise
    mark("end")
    return "done"
