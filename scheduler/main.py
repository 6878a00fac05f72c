"""`python -m scheduler.main`: enqueues the cron table's jobs, and once a second recovers jobs that are stuck.

Any number may run. The one that holds the advisory lock works, the others wait to take over.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable

import peewee
import redis
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from models.platform.settings import settings
from models.platform.startup_checks import require_safe

if __name__ == "__main__":
    require_safe(settings, "scheduler")  # the imports below already use the settings

from models.jobs import presence
from models.platform import logs, tracing
from models.platform.database import database, release, transaction
from models.platform.locks import SCHEDULER, try_session_lock
from scheduler.schedule import CRON
from workers import jobs
from workers.jobs import JobKind

log = logging.getLogger(__name__)
TICK_SECONDS = 1.0
OWNER = f"{socket.gethostname()}:{os.getpid()}"


class Leader:
    """Holds the scheduler's lock on this thread's connection. A lost connection is a lost lock."""

    def __init__(self) -> None:
        self.has_lock = False

    def keep_lock(self) -> bool:
        """Take the lock, or check that it is still held. Returns whether it is."""
        try:
            if self.has_lock:
                database.execute_sql("select 1")
            else:
                self.has_lock = try_session_lock(SCHEDULER)
                if self.has_lock:
                    log.info("scheduler.leading")
        except peewee.PeeweeException as error:
            self.give_up_lock(error)
        return self.has_lock

    def give_up_lock(self, error: Exception) -> None:
        """Close the connection for good: if it returned to the pool it would keep the lock."""
        log.warning("scheduler.database_away", extra={"reason": repr(error)})
        self.has_lock = False
        database.discard()

    def run_step(self, name: str, step: Callable[[], int]) -> None:
        """Run one step and log how many jobs it handled. An error is logged, and the next tick tries again."""
        if not self.has_lock:
            return
        try:
            count = step()
        except redis.RedisError as error:
            log.warning("scheduler.redis_away", extra={"step": name, "reason": repr(error)})
        except peewee.PeeweeException as error:
            self.give_up_lock(error)
        else:
            if count:
                log.info(name, extra={"jobs": count})


def enqueue(kind: JobKind) -> None:
    try:
        with transaction():
            jobs.enqueue(kind)
        log.info("cron.enqueued", extra={"job": kind.name})
    finally:
        release()


def report_alive() -> None:
    try:
        presence.report_scheduler(OWNER)
    except redis.RedisError as error:
        log.warning("scheduler.redis_away", extra={"step": "presence", "reason": repr(error)})


def main() -> None:
    tracing.start("scheduler")
    logs.configure("scheduler")
    should_stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: should_stop.set())
    cron = BackgroundScheduler(timezone="UTC", job_defaults={"coalesce": True, "misfire_grace_time": 3600})
    for line, kind in CRON:
        cron.add_job(enqueue, CronTrigger.from_crontab(line, timezone="UTC"), args=[kind], id=kind.name)
    cron.start(paused=True)
    leader = Leader()
    while not should_stop.is_set():
        if leader.keep_lock():
            cron.resume()
            leader.run_step("jobs.recovered", jobs.recover_expired)
            leader.run_step("jobs.resent", jobs.resend_unclaimed)
            leader.run_step("jobs.turns_taken", jobs.take_turns)
            leader.run_step("approvals.expired", jobs.expire_approvals)
            leader.run_step("billing.events_resumed", jobs.resume_billing_events)
        else:
            cron.pause()
        report_alive()
        should_stop.wait(TICK_SECONDS)
    cron.shutdown(wait=False)
    tracing.stop()


if __name__ == "__main__":
    main()
