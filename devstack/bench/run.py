"""Run one benchmark: a fresh stack, the peers to compare with, and a client process that loads them."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx

from devstack.bench import billing_edges as billing
from devstack.bench import idle, jobs
from devstack.bench.launch import PROCESSES, launch, pids_of
from devstack.bench.peers import bare_page, bare_webhook, environment, server, workers
from devstack.bench.report import Row
from devstack.bench.tools import PEER, Setup, sign_in
from devstack.process import Process, free_port, responds, wait_for
from devstack.stack import Stack, procfile

NO_LIMITS = {
    "CHAT_RATE_LIMIT_PER_MINUTE": "0",
    "CHAT_STREAM_RATE_LIMIT_PER_MINUTE": "0",
    "CHAT_STREAM_CONCURRENT_LIMIT": "0",
    "CONVERSATION_SEARCH_RATE_LIMIT_PER_MINUTE": "0",
    "AUTH_LOCKOUT_THRESHOLD": "1000000",  # counted as always, though one user signs in many times at once
    "AUTH_IP_LOCKOUT_THRESHOLD": "1000000",
    "NETWORK_CONNECTION_LIMIT": "0",
    "NETWORK_REQUEST_LIMIT": "0",
    "HASHING_LINE_LIMIT": "1000",
    "HASHING_LINE_LIMIT_PER_NETWORK": "1000",
    "STORAGE_UPLOADS_PER_MINUTE": "0",
    "TENANT_JOBS_AT_ONCE": "100000",
    "LOG_LEVEL": "WARNING",
}
WITH_LIMITS = ("admission",)
JOBS = ("pickup", "throughput", "claim")
WITH_PEER = ("first-token", "chats", "streams", "reads", "memory", "idle")  # compared with the FastAPI peer
WITH_JOB_PEERS = ("memory", "idle")  # also compared with idle Dramatiq and Celery
FANOUT_HOSTS = 100
WORKERS = {"journal": "devstack.bench.journal_worker"}
TIMEOUTS = {"vectors": 7200}  # on purpose, with eight tenants
TIMEOUT_SECONDS = 900  # `streams` is slowest: on a busy machine the peer is measured again with fewer streams


def measure(name: str, state: Path) -> list[Row]:
    """Run a benchmark on a fresh stack, so that no benchmark affects the next one."""
    if name == "fairness":
        return fairness(state)
    if name == "vectors":
        return vectors(state)
    if name == "fanout":
        return fanout(state)
    limits = {} if name in WITH_LIMITS else NO_LIMITS
    if name == "journal":
        limits = limits | {"BENCH_NO_JOURNAL": str(state / "no-journal")}
    rows = on_fresh_stack(name, state, limits, prepare() if name in WITH_PEER else "")
    return rows + on_fresh_stack("billing-webhooks", state / "webhooks", limits, "") if name == "billing" else rows


def fairness(state: Path) -> list[Row]:
    """With the limit that the benchmark is about, and without."""
    limits = (("8 jobs of a tenant at once", "8"), ("no limit", "0"))
    runs = [(NO_LIMITS | {"TENANT_JOBS_AT_ONCE": number}, text) for text, number in limits]
    return [row for env, text in runs for row in on_fresh_stack("fairness", state / text[:2].strip(), env, text)]


def vectors(state: Path) -> list[Row]:
    """Needs a database only: the searches are called as the edge and the agents call them."""
    with Stack(state, environ=without_servers()) as stack:
        stack.start_parts(only=("postgres", "valkey"))
        stack.migrate()
        return load("vectors", Setup(str(state / "peer"), {}), stack)


def fanout(state: Path) -> list[Row]:
    """Its client starts and kills the workers itself."""
    ports = [free_port() for _ in range(FANOUT_HOSTS)]
    trusted = ",".join(f"127.0.0.1:{port}" for port in ports)
    env = {**without_servers(), "WEBHOOK_TRUSTED_HOSTS": trusted, "LOG_LEVEL": "ERROR"}
    with Stack(state, environ=env) as stack:
        stack.start_parts(only=("postgres", "valkey", "mail"))
        stack.migrate()
        stack.spawn("scheduler")
        return load("fanout", Setup(",".join(map(str, ports)), {}), stack)


def on_fresh_stack(name: str, state: Path, limits: dict[str, str], no_peer: str) -> list[Row]:
    with Stack(state, environ={**without_servers(), **limits}) as stack:
        stack.start_parts()
        stack.migrate()
        stack.seed()
        processes = {kind: start(stack, kind, name) for kind in PROCESSES}
        url = f"http://127.0.0.1:{stack.port}"
        wait_for(lambda: responds(f"{url}/health/ready"), None, "the stack")
        if name in JOBS:
            return jobs.measure(name, stack, processes)
        setup = Setup(url, pids_of(stack), no_peer=no_peer)
        if name in WITH_PEER and not no_peer:
            setup = with_peer(setup, stack)
        if name == "billing":
            setup = replace(setup, peer_url=billing.start_guarded(stack))
        if name == "billing-webhooks":
            bare_url, bare_pid = bare_webhook.start(stack)
            setup = replace(setup, pids=setup.pids | {"bare": bare_pid}, peer_url=bare_url)
        if name == "status":
            bare_url, bare_pid = bare_page.start(stack, f"{url}/status")
            setup = replace(setup, pids=setup.pids | {"bare": bare_pid}, peer_url=bare_url)
        if name in WITH_JOB_PEERS:
            setup = with_job_peers(setup, stack)
        return idle.measure(setup) if name == "idle" else load(name, setup, stack)


def without_servers() -> dict[str, str]:
    """The environment, but only with servers that we start: a URL in it could be a real database."""
    return {key: value for key, value in os.environ.items() if not key.endswith(("_URL", "_ENDPOINT", "_API_KEY"))}


def start(stack: Stack, kind: str, name: str) -> Process:
    """Start a process of the Procfile. Where the benchmark `name` has a worker of its own, that one is started instead."""
    worker = WORKERS.get(name)
    if worker is None or kind != "worker-agents":
        return stack.spawn(kind)
    command = procfile()[kind].replace("workers.main", worker)
    return launch(stack, kind, f"exec {command}", stack.env_of(kind))


def prepare() -> str:
    """Install the peer's packages before anything is measured. Return the text for the rows if that fails, else ""."""
    try:
        environment.python()
    except environment.PeerUnavailable as error:
        print(f"NO PEER: {error}", file=sys.stderr)
        return f"none: {PEER} could not be installed"
    return ""


def with_peer(setup: Setup, stack: Stack) -> Setup:
    headers = {"Authorization": sign_in(setup.url)["Authorization"]}
    agents = httpx.get(f"{setup.url}/api/v1/agents", headers=headers).raise_for_status().json()
    try:
        peer = server.start(stack, agents)
    except environment.PeerUnavailable as error:
        print(f"NO PEER: {error}", file=sys.stderr)
        return replace(setup, no_peer=f"none: {PEER} did not start")
    return replace(setup, pids=setup.pids | {"peer": peer.process.pid}, peer_url=peer.url)


def with_job_peers(setup: Setup, stack: Stack) -> Setup:
    beat = workers.BEAT + shlex.quote(str(stack.state / "beat"))
    peers = {"dramatiq": workers.start(stack, workers.DRAMATIQ), "beat": workers.start(stack, beat, "beat")}
    return replace(setup, pids=setup.pids | {name: process.pid for name, process in peers.items()})


def load(name: str, setup: Setup, stack: Stack) -> list[Row]:
    """Run the benchmark's client in a separate process, which stops with the stack."""
    module = f"devstack.bench.{name.replace('-', '_')}"
    output = stack.state / "rows.json"
    command = f"exec {shlex.quote(sys.executable)} -m {module} {shlex.quote(setup.dump())} >{shlex.quote(str(output))}"
    client = launch(stack, "client", command)
    try:
        client.wait(seconds := TIMEOUTS.get(name, TIMEOUT_SECONDS))
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{name} did not finish within {seconds} s\n{client.tail()}") from None
    if client.returncode:
        raise SystemExit(f"{name} failed\n{client.tail()}")
    rows: list[Row] = json.loads(output.read_text())
    return rows
