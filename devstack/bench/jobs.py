"""Jobs: how soon one starts, how many a process drains."""

import json
import subprocess
import sys
import time
from pathlib import Path

import redis

from devstack.bench.tools import ms, row
from devstack.process import Process
from models.platform.redis import redis_client

PICKUPS, WARM_UP, DRAINED = 300, 10, 4000


def measure(name: str, stack, processes: dict) -> list[dict]:
    return pickup(stack) if name == "pickup" else throughput(stack, processes)


def ours(stack, *args: object) -> list:
    done = subprocess.run(
        [sys.executable, "-m", "devstack.bench.jobs", *map(str, args)],
        env=stack.env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def peer_url(stack) -> str:
    return stack.env["REDIS_URL"].rsplit("/", 1)[0] + "/5"


def peer(stack, command: str) -> Process:
    env = stack.env | {"PEER_REDIS_URL": peer_url(stack)}
    process = Process(
        f"exec {command}", stack.state / "logs" / "peer.log", env=env, cwd=Path(__file__).parent.parent.parent
    )
    stack.processes.append(process)
    process.name = "peer"
    return process


def pickup(stack) -> list[dict]:
    here = ours(stack, "pickup", WARM_UP + PICKUPS)[WARM_UP:]
    worker = peer(stack, "dramatiq devstack.bench.peers --processes 1 --threads 8")
    time.sleep(3)
    stock = subprocess.run(
        [sys.executable, "-c", STOCK.format(count=40)],
        env=stack.env | {"PEER_REDIS_URL": peer_url(stack)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    worker.stop()
    return [
        row(
            "job pick-up",
            "commit to actor start, p50 / p99",
            ms(here, 0.5, 0.99),
            f"stock Dramatiq {ms(json.loads(stock.stdout), 0.5, 0.99)}",
            "6 / 25 ms",
        )
    ]


STOCK = """
import json, random, time
from devstack.bench import peers
waits = []
for n in range({count}):
    time.sleep(random.uniform(0.05, 0.4))
    began = time.time(); peers.mark.send("stock")
    waits.append(float(peers.client.blpop("stock", 10)[1]) - began)
print(json.dumps(waits))
"""


def throughput(stack, processes: dict) -> list[dict]:
    processes["worker-jobs"].stop()
    ours(stack, "fill", DRAINED)
    worker = stack.spawn("worker-jobs")
    seconds = drained(stack)
    worker.stop()
    rate = DRAINED / seconds
    stock = drain_peer(stack, "nothing.send()", "dramatiq devstack.bench.peers --processes 1 --threads 8")
    # named on the command line: Celery would read our own BROKER_URL
    celery = f"celery -A devstack.bench.peers -b {peer_url(stack)} worker -P solo -l error"
    celery = drain_peer(stack, "celery_nothing.delay()", celery)
    bare = ours(stack, "bare", 1000)[0]
    return [
        row(
            "throughput",
            "no-op jobs/s, ledger included",
            f"{rate:.0f}",
            f"without a ledger: stock Dramatiq {stock:.0f}, Celery {celery:.0f}",
            ">= 800",
        ),
        row(
            "throughput",
            "where the time goes, per job",
            f"{1000 / rate:.2f} ms",
            f"claim + finish alone, one thread: {1000 * bare:.2f} ms",
        ),
    ]


def drained(stack) -> float:
    """Seconds from the first job's start to the last one's end."""
    import psycopg2

    connection = psycopg2.connect(stack.env["DATABASE_URL"])
    connection.autocommit = True
    cursor = connection.cursor()
    deadline = time.time() + 120
    while time.time() < deadline:
        cursor.execute(
            "select count(*) filter (where state = 'succeeded'), extract(epoch from max(finished_at) - min(started_at))"
            " from job where name = 'noop'"
        )
        done, seconds = cursor.fetchone()
        if done >= DRAINED:
            return float(seconds)
        time.sleep(0.1)
    raise SystemExit(f"only {done} of {DRAINED} jobs were done within two minutes")


def drain_peer(stack, send: str, command: str) -> float:
    client = redis.Redis.from_url(peer_url(stack))
    client.flushdb()
    script = f"from devstack.bench import peers\nfor _ in range({DRAINED}): peers.{send}"
    subprocess.run([sys.executable, "-c", script], env=stack.env | {"PEER_REDIS_URL": peer_url(stack)}, check=True)
    process = peer(stack, command)
    marks = []
    deadline = time.time() + 40
    while (not marks or marks[-1][1] < DRAINED) and time.time() < deadline:
        done = int(client.get("done") or 0)
        if done:
            marks.append((time.time(), done))
        time.sleep(0.02)
    process.stop()
    if len(marks) < 2:
        raise SystemExit(f"the peer did nothing: {command}")
    (first, from_), (last, to) = marks[0], marks[-1]
    return (to - from_) / max(0.02, last - first)


def _inside(what: str, count: int) -> list:
    """Runs in a process of its own with the stack's environment."""
    import random

    from models.jobs.ledger import Job
    from models.platform.database import database, transaction
    from workers import jobs as table

    client = redis_client()
    if what == "pickup":
        waits = []
        for _ in range(count):
            time.sleep(random.uniform(0.02, 0.15))
            with transaction():
                table.enqueue(table.NOOP, mark="bench")
                committed = time.time()
            waits.append(float(client.blpop("bench", 10)[1]) - committed)
        return waits
    if what == "fill":
        for _ in range(count // 500):
            with transaction():
                for _ in range(500):
                    table.enqueue(table.NOOP)
        return []
    with transaction():
        rows = [table.enqueue(table.NOOP) for _ in range(count)]
    began = time.perf_counter()
    for row_ in rows:
        Job.claim(row_.id, "bench", 10).finish()
    database.close()
    return [(time.perf_counter() - began) / count]


if __name__ == "__main__":
    print(json.dumps(_inside(sys.argv[1], int(sys.argv[2]))))
