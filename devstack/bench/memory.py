"""Resident memory of every process: after start, and after reads, chats and jobs."""

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402

from devstack.bench import chats, reads  # noqa: E402
from devstack.bench.launch import PROCESSES  # noqa: E402
from devstack.bench.report import Measure, Row, Target, row  # noqa: E402
from devstack.bench.tools import PEER, Setup, all_services, print_rows, sign_in  # noqa: E402
from devstack.bench.usage import resident  # noqa: E402
from models.platform.database import transaction  # noqa: E402
from workers import jobs as job_table  # noqa: E402

# The process to compare each of ours with. FastAPI's one process does the work of our edge and worker-agents together.
PEERS = {"edge": "peer", "worker-agents": "peer", "worker-jobs": "dramatiq", "scheduler": "beat"}
TITLES = {"peer": f"{PEER}, one process for everything", "dramatiq": "idle stock Dramatiq", "beat": "idle Celery beat"}
TARGETS = {"edge": Target("<=", (100, 100)), "worker-agents": Target("<=", (120, 120))}
JOBS = 2000


def sizes(setup: Setup) -> dict[str, tuple[float, float]]:
    return {name: resident(setup.pids[name]) for name in (*PROCESSES, *TITLES) if name in setup.pids}


def load(setup: Setup, user: dict[str, str]) -> None:
    """200 chats twice, three seconds of reads of each kind, and a queue of jobs."""
    reads.fill(user)
    with transaction():
        for _ in range(JOBS):
            job_table.enqueue(job_table.NOOP)
    for service in all_services(setup):
        for path in reads.TARGETS:
            reads.load(service, path, user, reads.Tally(), 3)
        for _ in range(2):
            chats.burst(200, 0, service, setup, user, chats.Tally())


def rows_of(setup: Setup, started: dict[str, tuple[float, float]], loaded: dict[str, tuple[float, float]]) -> list[Row]:
    def measure(name: str, note: str) -> Measure:
        return Measure((started[name][0], loaded[name][0]), "MB", note)

    rows = []
    for name in PROCESSES:
        helpers = loaded[name][1]
        ours = measure(name, f"plus {helpers:.0f} MB for master and helpers" if helpers >= 1 else "")
        peer = PEERS[name]
        compared = measure(peer, TITLES[peer]) if peer in started else setup.no_peer
        rows.append(row(name, "resident memory after start / after load", ours, compared, target=TARGETS.get(name)))
    return rows


def main() -> None:
    setup = Setup.from_arguments()
    user = sign_in(setup.url)
    gevent.sleep(3)
    started = sizes(setup)
    load(setup, user)
    gevent.sleep(3)
    print_rows(rows_of(setup, started, sizes(setup)))


if __name__ == "__main__":
    main()
