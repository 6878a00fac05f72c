"""A hub inside the test process. Sockets are not patched here, so its reader uses Redis from gevent's thread pool."""

import gevent
import redis


class Reader:
    """A Redis connection whose blocking read lets other greenlets run. `failures` are raised first."""

    def __init__(self, url):
        self.connection, self.failures, self.reads = redis.Redis.from_url(url), [], []

    def xread(self, keys, **options):
        self.reads.append((keys, options))
        if self.failures:
            raise self.failures.pop()
        return gevent.get_hub().threadpool.apply(self.connection.xread, (keys,), options)


def stop(hub):
    """End the hub's greenlets, and the read that the thread pool is still in."""
    from models.platform.redis import redis_client

    if hub.greenlets:
        gevent.killall(hub.greenlets)
        hub.greenlets = []
        redis_client().xadd(hub.control, {"w": 1})
