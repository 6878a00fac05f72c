"""What one queue of a worker process takes of its threads."""

import threading

import dramatiq
import pytest
from dramatiq import Worker

from workers.broker import PushBroker
from workers.broker import broker as ours
from workers.jobs import KINDS, QUEUES
from workers.queue_shares import SHARES, share_of

THREADS = 8


@pytest.fixture
def worked(clean):
    """(broker, jobs that were begun by queue, event that lets the long ones end), with a worker of all queues."""
    broker, begun, end = PushBroker(ours.url), dict.fromkeys(QUEUES, 0), threading.Event()
    done, lock = threading.Event(), threading.Lock()

    def long(queue):
        with lock:
            begun[queue] += 1
        end.wait(30)

    for queue in SHARES:
        dramatiq.actor(long, broker=broker, queue_name=queue, actor_name=queue)
    dramatiq.actor(done.set, broker=broker, queue_name="mail", actor_name="mail")
    worker = Worker(broker, worker_threads=THREADS, worker_timeout=100)
    worker.start()
    try:
        yield broker, begun, done
    finally:
        end.set()
        worker.stop(timeout=5000)


def send(broker, queue, *args):
    broker.enqueue(dramatiq.Message(queue_name=queue, actor_name=queue, args=args, kwargs={}, options={}))


def test_thousands_of_long_jobs_leave_threads_to_mail(worked):
    broker, begun, done = worked
    for queue in SHARES:
        for _ in range(3 * THREADS):
            send(broker, queue, queue)
    send(broker, "mail")
    assert done.wait(20)
    assert begun["index"] <= THREADS // 2 and begun["files"] <= THREADS // 4


def test_all_of_them_together_leave_some():
    assert sum(share_of(queue, THREADS) for queue in SHARES) < THREADS
    assert share_of("mail", THREADS) == THREADS
    assert share_of("files", 1) == 1


def test_every_kind_of_job_has_a_queue_that_is_known():
    assert {kind.queue for kind in KINDS.values()} <= set(QUEUES)
    assert set(SHARES) <= set(QUEUES)
