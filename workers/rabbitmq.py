"""Dramatiq's RabbitMQ broker, for BROKER_URL=amqp://... Needs the extra `amqp`."""

from dramatiq.brokers.rabbitmq import RabbitmqBroker


class RabbitBroker(RabbitmqBroker):
    def backlog(self, queue_name: str) -> int:
        """Number of messages waiting in this queue."""
        counts = self.get_queue_message_counts(queue_name)
        return int(counts[0])
