"""The Dramatiq broker. Redis by default, with pick-up by push; RabbitMQ when BROKER_URL is amqp://...

Key schema, one Redis list per queue in a database of the broker's own:
    jobs:<queue>    RPUSH to send, BLMPOP to take: a consumer sleeps inside Redis and wakes with the message.

A message only says that a job may be due. It is gone once taken, and is never acknowledged or requeued: the ledger
decides who owns a job, and recovers the jobs of dead workers.
"""

import logging
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import dramatiq
import redis
from dramatiq.broker import Broker, Consumer, MessageProxy
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from models.platform.redis import connect
from models.platform.settings import settings
from workers.queue_shares import share_of

if TYPE_CHECKING:
    from workers.rabbitmq import RabbitBroker

log = logging.getLogger(__name__)
BLOCK_SECONDS = 1.0  # also the longest that a shutdown waits for a consumer
RECONNECT_SECONDS = 0.25


class PushBroker(Broker):
    """Dramatiq over `RPUSH` and `BLMPOP`. Delayed messages are refused: the ledger knows when a job is due."""

    def __init__(self, url: str) -> None:
        super().__init__(middleware=[])  # without Retries, TimeLimit, ...: that is done by the ledger and the heartbeat
        self.url = url
        self.client = connect(
            url,
            socket_timeout=5,
            socket_connect_timeout=2,
            health_check_interval=30,
            retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 2),
        )

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> "PushConsumer":
        threads = prefetch // 2  # Dramatiq asks for twice as many messages as it has threads
        return PushConsumer(self, queue_name, slots=share_of(queue_name, threads))

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        if delay is not None:
            raise ValueError("Delayed messages are not supported: set the job's due time in the ledger.")
        self.client.rpush(key(message.queue_name), message.encode())
        return message

    def backlog(self, queue_name: str) -> int:
        """Number of messages waiting in this queue."""
        return int(self.client.llen(key(queue_name)))

    def flush(self, queue_name: str) -> None:
        self.client.delete(key(queue_name))

    def flush_all(self) -> None:
        for queue_name in self.get_declared_queues():
            self.flush(queue_name)

    def close(self) -> None:
        self.client.close()


class PushConsumer(Consumer):
    """Takes as many messages as there are free slots in one blocking round trip."""

    def __init__(self, broker: PushBroker, queue_name: str, slots: int) -> None:
        self.key, self.broker, self.slots = key(queue_name), broker, slots
        self.fetched: list[bytes] = []  # the next one to hand out is the last
        self.outstanding = 0
        self.slot_freed = threading.Condition()
        # the read timeout is longer than the longest block
        self.client = redis.Redis.from_url(
            broker.url, single_connection_client=True, socket_timeout=BLOCK_SECONDS + 5, socket_connect_timeout=2
        )

    def __next__(self) -> MessageProxy | None:
        if not self.fetched:
            self._fetch()
        if not self.fetched:
            return None
        self.outstanding += 1
        return MessageProxy(dramatiq.Message.decode(self.fetched.pop()))

    def _fetch(self) -> None:
        free_slots = self._wait_for_slots()
        if not free_slots:
            return
        try:
            answer: Any = self.client.blmpop(BLOCK_SECONDS, 1, self.key, direction="LEFT", count=free_slots)
        except redis.RedisError as error:  # Redis is down, restarting or loading
            log.warning("broker.unreachable", extra={"queue": self.key, "reason": repr(error)})
            time.sleep(RECONNECT_SECONDS)
            return
        if answer:
            self.fetched = answer[1][::-1]

    def _wait_for_slots(self) -> int:
        """The number of free slots. If there are none, waits up to a second for a job to end."""
        with self.slot_freed:
            if self.outstanding >= self.slots:
                self.slot_freed.wait(timeout=1)
            return self.slots - self.outstanding

    def ack(self, message: MessageProxy) -> None:
        with self.slot_freed:
            self.outstanding -= 1
            self.slot_freed.notify()

    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """At shutdown, return the messages that were not begun. If Redis is down, the scheduler sends their jobs again."""
        encoded = [message._message.encode() for message in messages]  # noqa: SLF001  (Dramatiq's brokers do so too)
        encoded += self.fetched[::-1]
        self.fetched = []
        if encoded:
            try:
                self.broker.client.lpush(self.key, *reversed(encoded))
            except redis.RedisError as error:
                log.warning("broker.requeue_failed", extra={"queue": self.key, "reason": repr(error)})

    def close(self) -> None:
        self.requeue([])
        self.client.close()


def key(queue_name: str) -> str:
    return f"jobs:{queue_name}"


def make_broker(url: str) -> "PushBroker | RabbitBroker":
    if not url.startswith(("amqp://", "amqps://")):
        return PushBroker(url)
    from workers.rabbitmq import RabbitBroker

    return RabbitBroker(url=url, middleware=[], confirm_delivery=True)


broker = make_broker(settings.broker)
dramatiq.set_broker(broker)
