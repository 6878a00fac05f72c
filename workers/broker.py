"""The Dramatiq broker. Redis by default, with pick-up by push; RabbitMQ when BROKER_URL is amqp://...

Key schema, one Redis list per queue in a database of the broker's own:
    jobs:<queue>    RPUSH to send, BLMPOP to take: a consumer sleeps inside Redis and wakes with the message.

A message is only a hint that a job row is due. It is gone once taken: who owns a job, and what happens when its
worker dies, is decided by the ledger alone, so there are no acknowledgements to keep, requeue or maintain here.
"""

import logging
import threading
import time

import dramatiq
import redis
from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.errors import ActorNotFound
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from models.platform.redis import connect
from models.platform.settings import settings

log = logging.getLogger(__name__)
BLOCK_SECONDS = 1.0  # also the longest that a shutdown waits for a consumer
RECONNECT_SECONDS = 0.25


class PushBroker(Broker):
    """Dramatiq over `RPUSH` and `BLMPOP`. Back-off and delays are the ledger's, so `delay` is refused."""

    def __init__(self, url: str):
        super().__init__(middleware=[])  # no Retries, TimeLimit, ...: the ledger and the keeper do that
        self.url = url
        self.client = connect(
            url,
            socket_timeout=5,
            socket_connect_timeout=2,
            max_connections=1000,
            health_check_interval=30,
            retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 2),
        )

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> "PushConsumer":
        return PushConsumer(self, queue_name, slots=max(1, prefetch // 2))

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: dramatiq.Message, *, delay: int | None = None) -> dramatiq.Message:
        if delay is not None:
            raise ValueError("Delayed messages are not supported: set the job's due time in the ledger.")
        self.client.rpush(key(message.queue_name), message.encode())
        return message

    def backlog(self, queue_name: str) -> int:
        """Messages that wait in this queue."""
        return self.client.llen(key(queue_name))

    def flush(self, queue_name: str) -> None:
        self.client.delete(key(queue_name))

    def flush_all(self) -> None:
        for queue_name in self.get_declared_queues():
            self.flush(queue_name)

    def close(self) -> None:
        self.client.close()


class PushConsumer(Consumer):
    """Takes up to as many messages as there are free slots in one blocking round trip."""

    def __init__(self, broker: PushBroker, queue_name: str, slots: int):
        self.key, self.broker, self.slots = key(queue_name), broker, slots
        self.fetched: list[bytes] = []
        self.outstanding = 0
        self.freed = threading.Condition()
        # a read timeout longer than the longest block
        self.client = redis.Redis.from_url(
            broker.url, single_connection_client=True, socket_timeout=BLOCK_SECONDS + 5, socket_connect_timeout=2
        )

    def __next__(self) -> MessageProxy | None:
        if not self.fetched:
            room = self._room()
            if not room:
                return None
            try:
                answer = self.client.blmpop(BLOCK_SECONDS, 1, self.key, direction="LEFT", count=room)
            except redis.RedisError as error:  # the server is away, restarting or loading: keep asking
                log.warning("broker.unreachable", extra={"queue": self.key, "reason": repr(error)})
                time.sleep(RECONNECT_SECONDS)
                return None
            self.fetched = answer[1][::-1] if answer else []
        if not self.fetched:
            return None
        self.outstanding += 1
        return MessageProxy(dramatiq.Message.decode(self.fetched.pop()))

    def _room(self) -> int:
        """Free slots. When there are none, wait for a job to end, not for Redis."""
        with self.freed:
            if self.outstanding >= self.slots:
                self.freed.wait(timeout=1)
            return self.slots - self.outstanding

    def ack(self, message: MessageProxy) -> None:
        with self.freed:
            self.outstanding -= 1
            self.freed.notify()

    nack = ack

    def requeue(self, messages) -> None:
        """At shutdown: what was taken but not begun goes back. If Redis is away, the sweeper sends it."""
        encoded = [message._message.encode() for message in messages] + self.fetched[::-1]
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


def make_broker(url: str) -> Broker:
    if not url.startswith(("amqp://", "amqps://")):
        return PushBroker(url)
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    class Rabbit(RabbitmqBroker):
        def backlog(self, queue_name: str) -> int:
            return sum(self.get_queue_message_counts(queue_name)[:1])

    return Rabbit(url=url, middleware=[], confirm_delivery=True)


broker = make_broker(settings.broker)
dramatiq.set_broker(broker)

__all__ = ["ActorNotFound", "PushBroker", "broker", "make_broker"]
