"""Resident memory of every process: after start, and after reads, chats and jobs."""

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402

from devstack.bench import chats, reads  # noqa: E402
from devstack.bench.launch import PROCESSES  # noqa: E402
from devstack.bench.report import Asked, Measure, Row, row  # noqa: E402
from devstack.bench.tools import PEER, Facts, sign_in, targets, tell  # noqa: E402
from devstack.bench.usage import resident  # noqa: E402
from models.platform.database import transaction  # noqa: E402
from workers import jobs as table  # noqa: E402

# What does the same in the field. FastAPI's one process does what our edge and worker-agents do together.
PEERS = {"edge": "peer", "worker-agents": "peer", "worker-jobs": "dramatiq", "scheduler": "beat"}
TITLES = {"peer": f"{PEER}, all in one", "dramatiq": "empty stock Dramatiq", "beat": "empty Celery beat"}
ASKED = {"edge": Asked("<=", (100, 100)), "worker-agents": Asked("<=", (120, 120))}
JOBS = 2000


def sizes(facts: Facts) -> dict[str, tuple[float, float]]:
    return {name: resident(facts.pids[name]) for name in (*PROCESSES, *TITLES) if name in facts.pids}


def load(facts: Facts, who: dict[str, str]) -> None:
    """200 chats twice, three seconds of reads of each kind, and a queue of jobs."""
    reads.fill(who)
    with transaction():
        for _ in range(JOBS):
            table.enqueue(table.NOOP)
    for target in targets(facts):
        for path in reads.ASKED:
            reads.load(target, path, who, reads.Tally(), 3)
        for _ in range(2):
            chats.burst(200, 0, target, facts, who, chats.Tally())


def rows_of(facts: Facts, started: dict[str, tuple[float, float]], loaded: dict[str, tuple[float, float]]) -> list[Row]:
    def told(name: str, note: str) -> Measure:
        return Measure((started[name][0], loaded[name][0]), "MB", note)

    rows = []
    for name in PROCESSES:
        helpers = loaded[name][1]
        here = told(name, f"master and helpers {helpers:.0f} more" if helpers >= 1 else "")
        peer = PEERS[name]
        beside = told(peer, TITLES[peer]) if peer in started else facts.no_peer
        rows.append(row(name, "resident after start / after load", here, beside, asked=ASKED.get(name)))
    return rows


def main() -> None:
    facts = Facts.given()
    who = sign_in(facts.url)
    gevent.sleep(3)
    started = sizes(facts)
    load(facts, who)
    gevent.sleep(3)
    tell(rows_of(facts, started, sizes(facts)))


if __name__ == "__main__":
    main()
