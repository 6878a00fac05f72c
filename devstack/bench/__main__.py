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
    "idle": "CPU of idle processes; compared with FastAPI, Dramatiq and Celery",
    "memory": "resident memory of every process after start and after load; compared with FastAPI, Dramatiq and Celery",
    "pickup": "time from a job's commit to its start; compared with stock Dramatiq",
    "throughput": "no-op jobs per second in one worker process; compared with stock Dramatiq and Celery",
    "claim": "time to claim and finish a job; compared with two plain UPDATEs",
    "first-token": "time to the first text of a chat; compared with FastAPI and a direct call to the model",
    "chats": "100 and 200 chats at once, with the CPU of each process; compared with FastAPI",
    "journal": "100 chats at once, plain and with a tool call; with and without the writes of the journal",
    "fairness": "a chat's first text while another tenant has queued thousands; with and without the limit per tenant",
    "streams": "1,000 open streams at 5 events/s each, and 5,000 idle ones; compared with FastAPI",
    "sign-in": "sign-ins per second, and their effect on open streams; compared with argon2 alone",
    "admission": "what others get during slow bodies, idle connections, large bodies and crowds of sign-ins",
    "conversations": "lists, searches and details among 10,000 conversations with 200,000 messages; compared with the query alone",
    "billing": "what the guard of limits adds to a chat's start; what usage costs; webhooks accepted per second",
    "fanout": "10,000 mails and webhooks about one incident, with kills; compared with a bare loop of the same sends",
    "indexing": "a PDF of 300 pages from its upload to its search; compared with bare extraction and bare vectors",
    "storage": "signed URLs per second; how fast uploads are verified; compared with the minio client and bare reading",
    "vectors": "searches among 100,000 chunks, their recall, indexing, memory; compared with LanceDB",
    "status": "the status page, its JSON and feed from memory; beside a bare answer",
    "reads": "REST reads over 32 connections; compared with FastAPI",
}
EPILOG = """benchmarks:
{}

Each benchmark starts its own stack on 127.0.0.1, loads both services in turn, and stops everything it started. The
FastAPI peer is installed on first use into a separate environment, .venv/bench-peer. The last row of each table shows
the CPU used by other processes. If it is high, compare CPU per request instead of times: times, and even their ratio,
then depend on the other processes, because a service with two processes gets twice the share of one. A missed target
is reported in the table and does not change the exit code.

BENCH_VECTOR_CHUNKS and BENCH_VECTOR_TENANTS are the numbers of chunks (100,000) and of tenants with so many (1) of
`vectors`; with 8 tenants it takes an hour on two cores."""


def main() -> int:
    listing = "\n".join(f"  {name:13} {text}" for name, text in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description="Measure Longshore and its peers in the same run.",
        epilog=EPILOG.format(listing),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="name", help="benchmarks to run (default: all); `list` prints their names"
    )
    parser.add_argument("--json", action="store_true", help="print all rows as one JSON list instead of tables")
    args = parser.parse_args()
    if args.names == ["list"]:
        print("\n".join(line.strip() for line in listing.splitlines()))
        return 0
    if unknown := sorted(set(args.names) - set(BENCHES)):
        parser.error(f"unknown benchmark: {', '.join(unknown)}; `./dev bench list` prints the names")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that the stack is stopped
    run(args.names or list(BENCHES), args.json)
    return 0


def run(names: list[str], as_json: bool) -> None:
    rows: list[report.Row] = []
    with tempfile.TemporaryDirectory(prefix="longshore-bench-") as folder:
        for name in names:
            print(f"{name}: {BENCHES[name]} ...", file=sys.stderr)
            machine = Machine()
            measured = measure(name, Path(folder) / name)
            measured.append(
                report.row(
                    name, "CPU used by other processes (share of all cores)", f"{machine.used_by_others():.0f} %"
                )
            )
            rows += measured
            if not as_json:
                report.print_table(measured)
    print(report.as_json(rows) if as_json else report.CAPTION)


if __name__ == "__main__":
    sys.exit(main())
