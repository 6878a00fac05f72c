"""`./dev bench [--json] [names ...]`."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devstack.bench import idle, jobs
from devstack.process import responds, wait_for
from devstack.stack import ROOT, Stack

OFF = {
    "CHAT_RATE_LIMIT_PER_MINUTE": "0",
    "CHAT_STREAM_RATE_LIMIT_PER_MINUTE": "0",
    "CHAT_STREAM_CONCURRENT_LIMIT": "0",
    "LOG_LEVEL": "WARNING",
}
PROCESSES = ("edge", "worker-agents", "worker-jobs", "scheduler")
# name -> what it measures; those with a load module run it as a client process of its own
BENCHES = {
    "idle": "CPU of all processes together while nothing happens",
    "pickup": "idle job: commit to actor start, ledger claim included; stock Dramatiq beside it",
    "throughput": "no-op jobs drained by one worker process; stock Dramatiq and Celery beside it",
    "first-token": "first text of POST /chat/stream against the bare call to the model",
    "chats": "100 and 200 chats at once on one edge and one worker-agents process",
    "streams": "1,000 open streams at 5 events/s each, /health meanwhile; 5,000 silent ones",
    "sign-in": "sign-ins a second; open streams while 20 a second hash passwords",
    "reads": "REST reads over 32 connections",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure, beside peers in the same run.")
    parser.add_argument(
        "names", nargs="*", metavar="name", help="; ".join(f"{name}: {text}" for name, text in BENCHES.items())
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    if args.names == ["list"]:
        print("\n".join(f"{name:12} {text}" for name, text in BENCHES.items()))
        return 0
    if unknown := set(args.names) - set(BENCHES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; `./dev bench list` names them")
    rows = []
    with tempfile.TemporaryDirectory(prefix="longshore-bench-") as folder:
        for name in args.names or BENCHES:
            print(f"{name}: {BENCHES[name]} ...", file=sys.stderr)
            rows += (found := measure(name, Path(folder) / name))
            if not args.json:
                show(found)
    if args.json:
        print(json.dumps(rows, indent=2))
    return 0


def measure(name: str, state: Path) -> list[dict]:
    """A fresh stack for every benchmark: none leaves anything to the next."""
    clean = {key: value for key, value in os.environ.items() if not key.endswith("_URL")}
    with Stack(state, environ={**clean, **OFF}) as stack:
        stack.start_parts()
        stack.migrate()
        stack.seed()
        processes = {kind: stack.spawn(kind) for kind in PROCESSES}
        wait_until_ready(stack)
        if name in ("pickup", "throughput"):
            return jobs.measure(name, stack, processes)
        if name == "idle":
            return idle.measure(stack)
        return load(name, stack, processes)


def wait_until_ready(stack: Stack) -> None:
    wait_for(lambda: responds(f"http://127.0.0.1:{stack.port}/health/ready"), None, "the stack")


def load(name: str, stack: Stack, processes: dict) -> list[dict]:
    """Run a client process; it is told the server processes' pids to account for their CPU and memory."""
    pids = {kind: process.worker_pids()[-1:] for kind, process in processes.items()}
    facts = json.dumps({"url": f"http://127.0.0.1:{stack.port}", "pids": pids})
    module = f"devstack.bench.{name.replace('-', '_')}"
    done = subprocess.run(
        [sys.executable, "-m", module, facts], cwd=ROOT, env=stack.env, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name} failed")
    return json.loads(done.stdout)


def show(rows: list[dict]) -> None:
    table = Table("what", "figure", "here", "beside it", "at least", box=None, header_style="bold")
    for row in rows:
        table.add_row(row["what"], row["figure"], row["here"], row.get("peer", ""), row.get("target", ""))
    Console(width=150, highlight=False).print(table)


if __name__ == "__main__":
    sys.exit(main())
