"""Dramatiq's RabbitMQ broker, for BROKER_URL=amqp://... Needs the extra `amqp`."""

from typing import Any

from dramatiq.brokers.rabbitmq import RabbitmqBroker

from workers.queue_shares import SHARES, share_of


class RabbitBroker(RabbitmqBroker):
    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Any:
        """A consumer has at most `prefetch` messages that are not acknowledged: those that wait for a thread count too."""
        if queue_name in SHARES:
            prefetch = share_of(queue_name, prefetch // 2)
        return super().consume(queue_name, prefetch, timeout)

    def backlog(self, queue_name: str) -> int:
        """Number of messages waiting in this queue."""
        counts = self.get_queue_message_counts(queue_name)
        return int(counts[0])
