"""Doing jobs inside a test, without a broker."""

import contextlib
import threading
import time


def do(actors):
    """Do the waiting jobs of these names ({name: actor}) here and now, once each, also those that are to be tried again
    later. Returns how many there were."""
    from models.jobs.ledger import QUEUED, Job
    from models.platform.clock import now
    from workers.jobs import KINDS
    from workers.runtime import execute

    waiting = Job.name.in_(list(actors)) & (Job.state == QUEUED)
    Job.update(due_at=now()).where(waiting & (Job.due_at > now())).execute()
    jobs = list(Job.select().where(waiting).order_by(Job.id))
    for job in jobs:
        execute(KINDS[job.name], actors[job.name], str(job.id))
    return len(jobs)


@contextlib.contextmanager
def working(work, threads=1):
    """Threads that call `work`, which returns how many jobs it did, until the block ends."""
    from models.platform.database import release

    stop = threading.Event()

    def loop():
        while not stop.is_set():
            if not work():
                time.sleep(0.01)
            release()

    running = [threading.Thread(target=loop) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in running:
            thread.join()
