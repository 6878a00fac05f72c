"""A worker for agents whose tools leave traces in Redis. Start it with dramatiq-gevent in place of workers.main.

get_current_time    takes no time
search_conversations    takes as many seconds as its query says
Each call appends "<begin|end|stopped> <idempotency key> <time>" to the list `calls`.
"""

import time
from dataclasses import replace

from models.platform.redis import redis_client
from workers.agents.catalog import catalog
from workers.main import broker


def counted(seconds):
    def call(context, query="0"):
        _mark("begin", context)
        try:
            time.sleep(seconds(query))
        except BaseException:
            _mark("stopped", context)
            raise
        _mark("end", context)
        return f"done {context.idempotency_key}"

    return call


def _mark(what, context):
    redis_client().rpush("calls", f"{what} {context.idempotency_key} {time.time()}")


tools = catalog().tools
for name, seconds in (("get_current_time", lambda query: 0.0), ("search_conversations", float)):
    tools[name] = replace(tools[name], function=counted(seconds))
__all__ = ["broker"]
