"""`python -m scheduler.main`: enqueues what the cron table says, and keeps the ledger moving once a second.

Any number may run: the one that holds the advisory lock works, the others wait to take over.
"""

import logging
import signal
import threading
from collections.abc import Callable

import peewee
import redis
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from models.platform import logs
from models.platform.database import database, release, transaction
from models.platform.locks import SCHEDULER, try_session_lock
from models.platform.settings import settings
from scheduler.schedule import CRON
from workers import jobs

log = logging.getLogger(__name__)
TICK_SECONDS = 1.0


class Leader:
    """Holds the lock on a connection of its own thread; losing the connection is losing the lock."""

    def __init__(self):
        self.held = False

    def hold(self) -> bool:
        try:
            if self.held:
                database.execute_sql("select 1")
            else:
                self.held = try_session_lock(SCHEDULER)
                if self.held:
                    log.info("scheduler.leading")
        except peewee.PeeweeException as error:
            self.drop(error)
        return self.held

    def drop(self, error: Exception) -> None:
        """Close the connection for good: back in the pool it would go on holding the lock."""
        log.warning("scheduler.database_away", extra={"reason": repr(error)})
        self.held = False
        database.manual_close()

    def tick(self, name: str, step: Callable[[], int]) -> None:
        """Run one ledger step. Its failure is logged and the next second tries again."""
        try:
            if self.held and (count := step()):
                log.info(name, extra={"jobs": count})
        except redis.RedisError as error:
            log.warning("scheduler.redis_away", extra={"step": name, "reason": repr(error)})
        except peewee.PeeweeException as error:
            self.drop(error)


def enqueue(kind: jobs.Job) -> None:
    try:
        with transaction():
            jobs.enqueue(kind)
        log.info("cron.enqueued", extra={"job": kind.name})
    finally:
        release()


def main() -> None:
    logs.configure("scheduler")
    ending, leader = threading.Event(), Leader()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    cron = BackgroundScheduler(timezone="UTC", job_defaults={"coalesce": True, "misfire_grace_time": 3600})
    for line, kind in CRON:
        cron.add_job(enqueue, CronTrigger.from_crontab(line, timezone="UTC"), args=[kind], id=kind.name)
    cron.start(paused=True)
    while not ending.is_set():
        if leader.hold():
            cron.resume()
            leader.tick("jobs.reaped", jobs.reap)
            leader.tick("jobs.resent", jobs.sweep)
        else:
            cron.pause()
        ending.wait(TICK_SECONDS)
    cron.shutdown(wait=False)


if __name__ == "__main__":
    settings.require_safe()
    main()
