"""Jobs: how soon one starts, how many a process drains, what claiming and finishing one costs."""

import json
import subprocess
import sys
import time
from typing import Any

import psycopg2

from devstack.bench.peers import workers
from devstack.bench.report import Asked, Measure, Row, ms, row
from devstack.process import Process
from devstack.stack import Stack

PICKUPS, STOCK_PICKUPS, WARM_UP, DRAINED, CLAIMS = 300, 40, 10, 4000, 1000


def measure(name: str, stack: Stack, processes: dict[str, Process]) -> list[Row]:
    if name == "pickup":
        return pickup(stack)
    processes["worker-jobs"].stop()
    return throughput(stack) if name == "throughput" else claim(stack)


def inside(stack: Stack, *args: object) -> Any:
    """Run our side of a benchmark in a process of its own with the stack's environment; what it tells."""
    command = [sys.executable, "-m", "devstack.bench.job_client", *map(str, args)]
    done = subprocess.run(command, env=stack.env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def pickup(stack: Stack) -> list[Row]:
    here = inside(stack, "pickup", WARM_UP + PICKUPS)[WARM_UP:]
    worker = workers.start(stack, workers.DRAMATIQ)
    time.sleep(3)
    stock = workers.pickups(stack, STOCK_PICKUPS)
    worker.stop()
    peer = ms(stock, note="stock Dramatiq")
    return [row("job pick-up", "commit to start, p50 / p99", ms(here), peer, asked=Asked("<=", (6, 25)))]


def throughput(stack: Stack) -> list[Row]:
    inside(stack, "fill", DRAINED)
    worker = stack.spawn("worker-jobs")
    here = Measure((DRAINED / drained(stack),), "jobs/s", "with its ledger")
    worker.stop()
    rows = []
    for title, send, command in (
        ("stock Dramatiq", "nothing.send()", workers.DRAMATIQ),
        ("Celery", "celery_nothing.delay()", workers.CELERY),
    ):
        rate = workers.drain(stack, send, command, DRAINED)
        peer = Measure((rate,), "jobs/s", f"{title}, no ledger")
        rows.append(
            row(
                "throughput", "no-op jobs a second, one process", here, peer, asked=Asked(">=", (800,)), better="higher"
            )
        )
    return rows


def drained(stack: Stack) -> float:
    """Seconds from the first job's start to the last one's end."""
    connection = psycopg2.connect(stack.env["DATABASE_URL"])
    connection.autocommit = True
    cursor = connection.cursor()
    deadline, done, seconds = time.time() + 120, 0, 0.0
    while done < DRAINED:
        if time.time() > deadline:
            raise SystemExit(f"only {done} of {DRAINED} jobs were done within two minutes")
        time.sleep(0.1)
        cursor.execute(
            "select count(*) filter (where state = 'succeeded'), extract(epoch from max(finished_at) - min(started_at))"
            " from job where name = 'noop'"
        )
        done, seconds = cursor.fetchone() or (0, 0.0)
    connection.close()
    return float(seconds)


def claim(stack: Stack) -> list[Row]:
    here, bare = inside(stack, "claim", CLAIMS)
    peer = ms(bare, 0.5, note="two bare UPDATEs, psycopg2")
    return [
        row("claim + finish", "one thread, p50", ms(here, 0.5), peer, asked=Asked("<=", (0.6,))),
        row("claim + finish", "one thread, p99", ms(here, 0.99), ms(bare, 0.99, note="two bare UPDATEs")),
    ]
