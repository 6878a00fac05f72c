"""One tenant queues thousands of chats: how long another tenant's chat waits for its first text meanwhile."""

import time

import httpx

from devstack.bench.first_token import through_service
from devstack.bench.report import Measure, Row, Target, ms, quantile, row
from devstack.bench.tools import Setup, print_rows, sign_in
from models.auth.tenants import Tenant
from models.auth.users import User
from models.conversations.asking import Question, ask
from models.jobs.ledger import Job
from models.platform.database import transaction
from models.platform.principal import Principal
from workers.jobs import CHAT_RUN, enqueue

QUEUED, CHATS, WARM_UP = 5000, 40, 10
BACKLOG = "[[deltas=20 delay=20ms]] Tell me"
LONGEST_SECONDS = 120


def chats(http: httpx.Client) -> list[float]:
    """As many chats as fit into LONGEST_SECONDS, at most CHATS."""
    firsts: list[float] = []
    end = time.monotonic() + LONGEST_SECONDS
    while len(firsts) < CHATS and time.monotonic() < end:
        firsts.append(through_service(http))
    return firsts


def fill() -> None:
    """Queue the chats of the other tenant."""
    with transaction():
        tenant = Tenant.open("Heavy user")
        user = User.add("heavy@example.com", "no password", tenant=tenant)
    principal = Principal(user.id, tenant.id, "member")
    for _ in range(QUEUED):
        with transaction():
            run, _ = ask(principal, Question(BACKLOG, "triage"))
            enqueue(CHAT_RUN, run_id=run.id, tenant_id=run.tenant_id)


def waiting() -> int:
    return Job.select().where(Job.state == "queued").count()


def rows_of(idle: list[float], busy: list[float], left: int, limit: str) -> list[Row]:
    scenario = f"another tenant has queued {QUEUED}; {limit}"
    growth = Measure((quantile(busy, 0.5) / quantile(idle, 0.5),), "x")
    target = None if limit == "no limit" else Target("<=", (2,))
    return [
        row(scenario, "first text, p50 / p99", ms(busy), ms(idle, note="idle system")),
        row(scenario, "p50 compared with an idle system", growth, target=target),
        row(scenario, "queued chats left at the end", Measure((left,), "")),
    ]


def main() -> None:
    setup = Setup.from_arguments()
    http = httpx.Client(
        base_url=setup.url,
        headers={"Authorization": sign_in(setup.url)["Authorization"]},
        timeout=LONGEST_SECONDS,
    )
    for _ in range(WARM_UP):
        through_service(http)
    idle = chats(http)
    fill()
    busy = chats(http)
    print_rows(rows_of(idle, busy, waiting(), setup.no_peer))


if __name__ == "__main__":
    main()
