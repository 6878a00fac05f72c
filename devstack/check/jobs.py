"""The job table, the actors, the cron table and the Procfile agree."""

import shlex
from collections.abc import Iterator
from pathlib import Path


def find(root: Path) -> list[str]:
    from scheduler.schedule import CRON
    from workers import jobs
    from workers.main import broker

    table = {name: job.queue for name, job in jobs.KINDS.items()}
    actors = {name: actor.queue_name for name, actor in broker.actors.items()}
    return [
        *differences(table, actors),
        *(
            f"{name} names {job.exhausted} as its follow-up, which is not a job"
            for name, job in jobs.KINDS.items()
            if follow_up_missing(job)
        ),
        *(f"cron enqueues {kind.name}, which is not a job" for _, kind in CRON if kind.name not in table),
        *(
            f"no worker in the Procfile reads the queue {queue}"
            for queue in sorted({*table.values()} - queues_read(root))
        ),
    ]


def differences(table: dict[str, str], actors: dict[str, str]) -> Iterator[str]:
    """Compare the job table with the actors. Both are {name: queue}."""
    for name in sorted(table.keys() | actors.keys()):
        if name not in actors:
            yield f"the job {name} has no actor in any module that workers.main imports"
        elif name not in table:
            yield f"the actor {name} is not in the job table"
        elif table[name] != actors[name]:
            yield f"{name} is sent to the queue {table[name]}, but its actor reads {actors[name]}"


def follow_up_missing(job: object) -> bool:
    from workers.jobs import KINDS

    follow_up = getattr(job, "exhausted", None)
    return follow_up is not None and follow_up not in KINDS


def queues_read(root: Path) -> set[str]:
    """The queues that workers in the Procfile read, given after --queues or -Q."""
    queues: set[str] = set()
    for line in (root / "Procfile").read_text().splitlines():
        reading = False
        for word in shlex.split(line):
            if word.startswith("-"):
                reading = word in ("--queues", "-Q")
            elif reading:
                queues.add(word)
    return queues
