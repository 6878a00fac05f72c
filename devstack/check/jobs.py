"""The table of jobs, the actors, the cron table and the Procfile say the same."""

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
        *(f"{name} is followed by {job.exhausted}, which is no job" for name, job in jobs.KINDS.items() if lost(job)),
        *(f"cron enqueues {kind.name}, which is no job" for _, kind in CRON if kind.name not in table),
        *(f"no worker of the Procfile reads the queue {queue}" for queue in sorted({*table.values()} - read(root))),
    ]


def differences(table: dict[str, str], actors: dict[str, str]) -> Iterator[str]:
    """Both are {name: queue}."""
    for name in sorted(table.keys() | actors.keys()):
        if name not in actors:
            yield f"the job {name} has no actor in what workers.main imports"
        elif name not in table:
            yield f"the actor {name} has no line in the table of jobs"
        elif table[name] != actors[name]:
            yield f"{name} is sent to the queue {table[name]}, its actor reads {actors[name]}"


def lost(job: object) -> bool:
    from workers.jobs import KINDS

    follower = getattr(job, "exhausted", None)
    return follower is not None and follower not in KINDS


def read(root: Path) -> set[str]:
    """The queues that the Procfile's workers name after --queues or -Q."""
    queues: set[str] = set()
    for line in (root / "Procfile").read_text().splitlines():
        reading = False
        for word in shlex.split(line):
            if word.startswith("-"):
                reading = word in ("--queues", "-Q")
            elif reading:
                queues.add(word)
    return queues
