"""`./dev bench [--json] [names ...]`, and `./dev bench list`."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from devstack.bench import report
from devstack.bench.run import measure
from devstack.bench.usage import Machine

BENCHES = {
    "idle": "CPU of all processes while nothing happens; beside FastAPI, Dramatiq and Celery",
    "memory": "resident memory of every process, after start and after load; beside FastAPI, Dramatiq and Celery",
    "pickup": "from a job's commit to its start; beside stock Dramatiq",
    "throughput": "no-op jobs a second in one worker process; beside stock Dramatiq and Celery",
    "claim": "claiming and finishing a job; beside two bare UPDATEs",
    "first-token": "when the first text of a chat comes; beside FastAPI and the bare call to the model",
    "chats": "100 and 200 chats at once, and who uses the cores; beside FastAPI",
    "streams": "1,000 open streams at 5 events/s each, and silent ones; beside FastAPI",
    "sign-in": "sign-ins a second, and what open streams notice of them; beside argon2 alone",
    "reads": "REST reads over 32 connections; beside FastAPI",
}
EPILOG = """benchmarks:
{}

Each one starts a stack of its own on 127.0.0.1, loads both services in turn, and ends what it has started. The FastAPI
peer is installed on first use into an environment of its own, .venv/bench-peer. The last row tells how much of the
cores others took meanwhile. When that is much, look at CPU per request: times then depend on the others, and even their
ratio does, since a service of two processes gets twice the share of one. A missed figure is told and is no error."""


def main() -> int:
    listing = "\n".join(f"  {name:12} {text}" for name, text in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description="Measure Longshore beside its peers, in the same run.",
        epilog=EPILOG.format(listing),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="name", help="benchmarks to run (all of them); `list` names them")
    parser.add_argument("--json", action="store_true", help="print one JSON list of rows instead of tables")
    args = parser.parse_args()
    if args.names == ["list"]:
        print("\n".join(line.strip() for line in listing.splitlines()))
        return 0
    if unknown := sorted(set(args.names) - set(BENCHES)):
        parser.error(f"unknown: {', '.join(unknown)}; `./dev bench list` names them")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # the stack is stopped on the way out
    run(args.names or list(BENCHES), args.json)
    return 0


def run(names: list[str], as_json: bool) -> None:
    rows: list[report.Row] = []
    with tempfile.TemporaryDirectory(prefix="longshore-bench-") as folder:
        for name in names:
            print(f"{name}: {BENCHES[name]} ...", file=sys.stderr)
            machine = Machine()
            measured = measure(name, Path(folder) / name)
            measured.append(report.row(name, "cores that others used meanwhile", f"{machine.taken():.0f} %"))
            rows += measured
            if not as_json:
                report.as_table(measured)
    print(report.as_json(rows) if as_json else report.CAPTION)


if __name__ == "__main__":
    sys.exit(main())
