"""Running one benchmark: a fresh stack, the peers it wants beside it, and a client process that loads them."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx

from devstack.bench import idle, jobs
from devstack.bench.launch import PROCESSES, launch, pids_of
from devstack.bench.peers import environment, server, workers
from devstack.bench.report import Row
from devstack.bench.tools import PEER, Facts, sign_in
from devstack.process import responds, wait_for
from devstack.stack import Stack

OFF = {
    "CHAT_RATE_LIMIT_PER_MINUTE": "0",
    "CHAT_STREAM_RATE_LIMIT_PER_MINUTE": "0",
    "CHAT_STREAM_CONCURRENT_LIMIT": "0",
    "LOG_LEVEL": "WARNING",
}
JOBS = ("pickup", "throughput", "claim")
WITH_PEER = ("first-token", "chats", "streams", "reads", "memory", "idle")  # beside the FastAPI peer
WITH_JOB_PEERS = ("memory", "idle")  # ... and idle Dramatiq and Celery
LONGEST_SECONDS = 900  # streams, when the peer falls back step by step on a busy machine


def measure(name: str, state: Path) -> list[Row]:
    """A fresh stack for every benchmark: none leaves anything to the next."""
    no_peer = prepare() if name in WITH_PEER else ""
    # Only parts of our own: an address in the caller's environment could be a real database.
    kept = {key: value for key, value in os.environ.items() if not key.endswith(("_URL", "_ENDPOINT", "_API_KEY"))}
    with Stack(state, environ={**kept, **OFF}) as stack:
        stack.start_parts()
        stack.migrate()
        stack.seed()
        processes = {kind: stack.spawn(kind) for kind in PROCESSES}
        url = f"http://127.0.0.1:{stack.port}"
        wait_for(lambda: responds(f"{url}/health/ready"), None, "the stack")
        if name in JOBS:
            return jobs.measure(name, stack, processes)
        facts = Facts(url, pids_of(stack), no_peer=no_peer)
        if name in WITH_PEER and not no_peer:
            facts = with_peer(facts, stack)
        if name in WITH_JOB_PEERS:
            facts = with_job_peers(facts, stack)
        return idle.measure(facts) if name == "idle" else load(name, facts, stack)


def prepare() -> str:
    """Install the peer's packages before anything is measured. What the rows say when that is impossible, or nothing."""
    try:
        environment.python()
    except environment.PeerUnavailable as error:
        print(f"NO PEER: {error}", file=sys.stderr)
        return f"none: {PEER} could not be installed"
    return ""


def with_peer(facts: Facts, stack: Stack) -> Facts:
    who = {"Authorization": sign_in(facts.url)["Authorization"]}
    agents = httpx.get(f"{facts.url}/api/v1/agents", headers=who).raise_for_status().json()
    try:
        peer = server.start(stack, agents)
    except environment.PeerUnavailable as error:
        print(f"NO PEER: {error}", file=sys.stderr)
        return replace(facts, no_peer=f"none: {PEER} did not start")
    return replace(facts, pids=facts.pids | {"peer": peer.process.pid}, peer_url=peer.url)


def with_job_peers(facts: Facts, stack: Stack) -> Facts:
    beat = workers.BEAT + shlex.quote(str(stack.state / "beat"))
    peers = {"dramatiq": workers.start(stack, workers.DRAMATIQ), "beat": workers.start(stack, beat, "beat")}
    return replace(facts, pids=facts.pids | {name: process.pid for name, process in peers.items()})


def load(name: str, facts: Facts, stack: Stack) -> list[Row]:
    """Run the benchmark's client in a process of its own, which ends with us."""
    module = f"devstack.bench.{name.replace('-', '_')}"
    answer = stack.state / "rows.json"
    command = f"exec {shlex.quote(sys.executable)} -m {module} {shlex.quote(facts.dump())} >{shlex.quote(str(answer))}"
    client = launch(stack, "client", command)
    try:
        client.wait(LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{name} did not end within {LONGEST_SECONDS} s\n{client.tail()}") from None
    if client.returncode:
        raise SystemExit(f"{name} failed\n{client.tail()}")
    rows: list[Row] = json.loads(answer.read_text())
    return rows
