"""Jobs: time to start, jobs per second in one process, and the cost of claiming and finishing a job."""

import json
import subprocess
import sys
import time
from typing import Any

import psycopg2

from devstack.bench.peers import workers
from devstack.bench.report import Measure, Row, Target, ms, row
from devstack.process import Process
from devstack.stack import Stack

PICKUPS, STOCK_PICKUPS, WARM_UP, DRAINED, CLAIMS = 300, 40, 10, 4000, 1000


def measure(name: str, stack: Stack, processes: dict[str, Process]) -> list[Row]:
    if name == "pickup":
        return pickup(stack)
    processes["worker-jobs"].stop()
    return throughput(stack) if name == "throughput" else claim(stack)


def job_client(stack: Stack, *args: object) -> Any:
    """Run devstack.bench.job_client in a separate process with the stack's environment. Return what it prints."""
    command = [sys.executable, "-m", "devstack.bench.job_client", *map(str, args)]
    done = subprocess.run(command, env=stack.env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def pickup(stack: Stack) -> list[Row]:
    ours = job_client(stack, "pickup", WARM_UP + PICKUPS)[WARM_UP:]
    worker = workers.start(stack, workers.DRAMATIQ)
    time.sleep(3)
    stock = workers.pickups(stack, STOCK_PICKUPS)
    worker.stop()
    peer = ms(stock, note="stock Dramatiq")
    return [row("job pick-up", "commit to start, p50 / p99", ms(ours), peer, target=Target("<=", (6, 25)))]


def throughput(stack: Stack) -> list[Row]:
    job_client(stack, "fill", DRAINED)
    worker = stack.spawn("worker-jobs")
    ours = Measure((DRAINED / drain_seconds(stack),), "jobs/s", "with a job ledger")
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
                "throughput",
                "no-op jobs per second, one process",
                ours,
                peer,
                target=Target(">=", (800,)),
                better="higher",
            )
        )
    return rows


def drain_seconds(stack: Stack) -> float:
    """Seconds from the start of the first job to the end of the last job."""
    connection = psycopg2.connect(stack.env["DATABASE_URL"])
    connection.autocommit = True
    cursor = connection.cursor()
    deadline, done, seconds = time.time() + 120, 0, 0.0
    while done < DRAINED:
        if time.time() > deadline:
            raise SystemExit(f"only {done} of {DRAINED} jobs finished within two minutes")
        time.sleep(0.1)
        cursor.execute(
            "select count(*) filter (where state = 'succeeded'), extract(epoch from max(finished_at) - min(started_at))"
            " from job where name = 'noop'"
        )
        done, seconds = cursor.fetchone() or (0, 0.0)
    connection.close()
    return float(seconds)


def claim(stack: Stack) -> list[Row]:
    ours, plain = job_client(stack, "claim", CLAIMS)
    peer = ms(plain, 0.5, note="two plain UPDATEs, psycopg2")
    return [
        row("claim + finish", "one thread, p50", ms(ours, 0.5), peer, target=Target("<=", (0.6,))),
        row("claim + finish", "one thread, p99", ms(ours, 0.99), ms(plain, 0.99, note="two plain UPDATEs")),
    ]
