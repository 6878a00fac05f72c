"""The heartbeat of a worker process: it renews all leases with one statement, and interrupts actors that must stop."""

import logging
import os
import secrets
import socket
import threading
import time
from uuid import UUID

import dramatiq

from models.jobs import presence
from models.jobs.ledger import Job
from models.platform import memory
from models.platform.database import release
from models.platform.settings import settings
from workers.lease import Cancelled, Interrupt, Lease, LeaseRevoked, Shutdown, TimeLimitExceeded

log = logging.getLogger(__name__)
OWNER = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class HeartbeatMiddleware(dramatiq.Middleware):
    """Beats every JOB_HEARTBEAT_SECONDS in a thread (or greenlet) of its own."""

    def __init__(self) -> None:
        self.leases: dict[UUID, Lease] = {}
        self.queues = ""
        self.release_at = float("inf")  # when running jobs go back to their queues, on time.monotonic()
        self.has_ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self.queues = ",".join(sorted(worker.consumer_whitelist or broker.get_declared_queues()))
        memory.freeze()
        self.thread.start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self.release_at = time.monotonic() + settings.worker_grace_seconds

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self.has_ended.set()
        self.thread.join(2)
        presence.remove(OWNER)

    def _run(self) -> None:
        while not self.has_ended.wait(settings.job_heartbeat_seconds):
            try:
                presence.report(OWNER, self.queues)
                self.renew_leases()
            except Exception as error:  # noqa: BLE001  (the next beat tries again; leases last for several beats)
                log.warning("heartbeat.failed", extra={"reason": repr(error)})
                release()

    def renew_leases(self) -> None:
        leases = dict(self.leases)
        if not leases:
            return
        now = time.monotonic()
        renewals = Job.renew(OWNER, list(leases), settings.job_lease_seconds)
        for job_id, lease in leases.items():
            renewal = renewals.get(job_id)
            reason: type[Interrupt] | None = None
            if renewal is None or renewal.epoch != lease.job.epoch:
                reason = LeaseRevoked
            elif renewal.cancel_requested:
                reason = Cancelled
            elif now > lease.deadline:
                reason = TimeLimitExceeded
            elif now > self.release_at:
                reason = Shutdown
            if reason:
                lease.interrupt(reason)


heartbeat = HeartbeatMiddleware()
