"""Stock Dramatiq and Celery with the same empty job on the same Redis: `dramatiq devstack.bench.peers.jobs`."""

import os
import time

import dramatiq
import redis
from celery import Celery
from dramatiq.brokers.redis import RedisBroker

URL = os.environ.get("PEER_REDIS_URL", "redis://127.0.0.1:6379/5")
broker = RedisBroker(url=URL)  # type: ignore[no-untyped-call]
dramatiq.set_broker(broker)
client = redis.Redis.from_url(URL)
celery = Celery(broker=URL)
celery.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)


@dramatiq.actor
def mark(key: str) -> None:
    client.rpush(key, time.time())


@dramatiq.actor
def nothing() -> None:
    client.incr("done")


@celery.task  # type: ignore[untyped-decorator]
def celery_nothing() -> None:
    client.incr("done")
