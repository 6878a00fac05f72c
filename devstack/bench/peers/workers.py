"""Start and use the job peers: stock Dramatiq and Celery, on a separate Redis database."""

import json
import subprocess
import sys
import time

import redis

from devstack.bench.launch import launch
from devstack.process import Process
from devstack.stack import Stack

MODULE = "devstack.bench.peers.jobs"
DRAMATIQ = f"dramatiq {MODULE} --processes 1 --threads 8"
# The broker is given on the command line, because Celery would otherwise read our BROKER_URL.
CELERY = f"celery -A {MODULE} -b $PEER_REDIS_URL worker -P solo -l error"
BEAT = f"celery -A {MODULE} -b $PEER_REDIS_URL beat -l error -s "
DRAIN_SECONDS = 40
PICKUPS = """
import json, random, time
from devstack.bench.peers import jobs
latencies = []
for n in range({count}):
    time.sleep(random.uniform(0.05, 0.4))
    began = time.time(); jobs.mark.send("stock")
    latencies.append(float(jobs.client.blpop("stock", 10)[1]) - began)
print(json.dumps(latencies))
"""


def environment(stack: Stack) -> dict[str, str]:
    return stack.env | {"PEER_REDIS_URL": stack.env["REDIS_URL"].rsplit("/", 1)[0] + "/5"}


def start(stack: Stack, command: str, name: str = "job-peer") -> Process:
    return launch(stack, name, f"exec {command}", environment(stack))


def run_script(stack: Stack, script: str) -> str:
    """Run a script in the peer's environment. Return its output."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment(stack), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def pickups(stack: Stack, count: int) -> list[float]:
    """Seconds from sending each job to its start."""
    latencies: list[float] = json.loads(run_script(stack, PICKUPS.format(count=count)))
    return latencies


def drain(stack: Stack, send: str, command: str, count: int) -> float:
    """Jobs per second that the peer finishes."""
    client = redis.Redis.from_url(environment(stack)["PEER_REDIS_URL"])
    client.flushdb()
    run_script(stack, f"from devstack.bench.peers import jobs\nfor _ in range({count}): jobs.{send}")
    process = start(stack, command)
    marks: list[tuple[float, int]] = []
    deadline = time.time() + DRAIN_SECONDS
    while (not marks or marks[-1][1] < count) and time.time() < deadline:
        if done := int(client.get("done") or 0):
            marks.append((time.time(), done))
        time.sleep(0.02)
    process.stop()
    if len(marks) < 2:
        raise SystemExit(f"the peer did nothing: {command}\n{process.tail()}")
    (first, before), (last, after) = marks[0], marks[-1]
    return (after - before) / max(0.02, last - first)
