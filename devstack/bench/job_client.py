"""The part of the job benchmarks that runs inside the product: `python -m devstack.bench.job_client pickup|fill|claim COUNT`."""

import json
import os
import random
import sys
import time

import psycopg2

from models.jobs.ledger import Job
from models.platform.database import database, transaction
from models.platform.redis import redis_client
from workers import jobs as job_table

# Two statements without a lease, an epoch or a check of the state: the minimum that keeps a job from being lost.
START = "update job set state = 'running', started_at = now() where id = %s"
FINISH = "update job set state = 'succeeded', finished_at = now() where id = %s"


def pickup(count: int) -> list[float]:
    """Seconds from each commit to the start of its job."""
    client, latencies = redis_client(), []
    for _ in range(count):
        time.sleep(random.uniform(0.02, 0.15))
        with transaction():
            job_table.enqueue(job_table.NOOP, mark="bench")
            committed = time.time()
        _, started = client.blpop("bench", 10)  # type: ignore[misc]
        latencies.append(float(started) - committed)
    return latencies


def fill(count: int) -> list[float]:
    for _ in range(count // 500):
        with transaction():
            for _ in range(500):
                job_table.enqueue(job_table.NOOP)
    return []


def claim(count: int) -> list[list[float]]:
    """[seconds of our claim and finish, seconds of two plain UPDATEs], alternating job by job."""
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    connection.autocommit = True
    cursor = connection.cursor()
    with transaction():
        ids = [job_table.enqueue(job_table.NOOP).id for _ in range(2 * count)]
    ours, plain = [], []
    for mine, other in zip(ids[:count], ids[count:], strict=True):
        began = time.perf_counter()
        Job.claim(mine, "bench", 10).finish()  # type: ignore[union-attr]
        between = time.perf_counter()
        cursor.execute(START, (str(other),))
        cursor.execute(FINISH, (str(other),))
        ours.append(between - began)
        plain.append(time.perf_counter() - between)
    connection.close()
    database.close()
    return [ours, plain]


if __name__ == "__main__":
    work = {"pickup": pickup, "fill": fill, "claim": claim}[sys.argv[1]]
    print(json.dumps(work(int(sys.argv[2]))))
