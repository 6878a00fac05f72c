"""What limits and usage cost: the guard on a chat's start, and a row, a fold and a load of usage. `peer` is the same without.

The counters, holds and statements are those of the product, called in this process.
"""

import json
import statistics
import time
from collections.abc import Callable
from uuid import UUID

from devstack.bench.report import Measure, Row, Target, ms, row
from devstack.bench.tools import Setup, connect, print_rows, request, sign_in
from models.billing import counters, quotas
from models.billing.quotas import Guard
from models.platform.database import database, transaction
from models.platform.ids import uuid7
from models.platform.redis import redis_client
from models.platform.settings import settings
from models.runs import holds, usage

ROUNDS, CHATS, ROWS, LOADS = 600, 120, 1500, 100
ENTRIES = 20_000
LARGE = 10**12  # a limit that nobody reaches
CHAT = {"messages": 1, "input_tokens": 900, "output_tokens": 300}
BARE = "update tenant set name = name where id = %(tenant_id)s returning id"
BARE_ROW = "with ended as ({bare}) select count(*) from ended".replace("{bare}", BARE)
METERED = usage.INSERT.format(only_if=" and exists (select from ended)")
USAGE_ROW = "with ended as ({bare}), metered as ({metered}), unfolded as ({tail}) select count(*) from ended"
USAGE_ROW = USAGE_ROW.replace("{bare}", BARE).replace("{metered}", METERED).replace("{tail}", usage.TAIL)
FILL = """
with metered as (
    insert into usage_entry (tenant_id, source, feature, quantity, used_at)
    select %(tenant_id)s, 'bench:' || number, 'messages', 1, now() - number * interval '1 second'
    from generate_series(1, %(count)s) as number
    on conflict do nothing returning tenant_id, feature, used_at, quantity
)
insert into usage_tail (tenant_id, feature, used_at, quantity) select tenant_id, feature, used_at, quantity from metered"""


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def guard(tenant_id: UUID) -> list[Row]:
    """The transaction in which a run begins, with and without the guard, in turn."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * ROUNDS):
        is_on = number % 4 in (0, 3)
        with settings.override(enable_usage_guardrails=is_on):
            found[is_on].append(begin(tenant_id))
    with_guard, without = found[True], found[False]
    added = 1000 * (statistics.median(with_guard) - statistics.median(without))
    return [
        row("guard", "transaction that begins a run, p50 / p99", ms(with_guard), ms(without)),
        row("guard", "added at p50", Measure((added,), "ms"), target=Target("<=", (1.5,))),
    ]


def begin(tenant_id: UUID) -> float:
    """The seconds of a transaction of one statement, with the guard if it is on. What it reserves is free again afterwards."""
    holder = Guard(tenant_id, uuid7(), quotas.RUN)

    def change() -> None:
        holder.reserve()
        database.execute_prepared(BARE_ROW, {"tenant_id": tenant_id}).fetchone()

    took = seconds(lambda: holder.begin(change))
    holder.release()
    return took


def chats(setup: Setup) -> list[Row]:
    """The time to the header of a chat's stream, over HTTP, of both edges in turn: the run has begun then."""
    user = sign_in(setup.url)
    raw = request("POST", "/api/v1/chat/stream", user, json.dumps({"message": "[[deltas=1]]"}).encode())
    found: dict[str, list[float]] = {setup.url: [], setup.peer_url or "": []}
    for number in range(2 * CHATS + 20):
        url = [setup.url, setup.peer_url or ""][number % 4 in (0, 3)]
        sock = connect(url)
        began = time.perf_counter()
        sock.sendall(raw)
        seen = sock.recv(65536)
        took = time.perf_counter() - began
        if not seen.startswith(b"HTTP/1.1 200"):
            raise SystemExit(seen.decode(errors="replace"))
        while b'"is_terminal":true' not in seen[-4000:]:
            seen += sock.recv(65536)
        sock.close()
        if number >= 20:  # the first ones warm up
            found[url].append(took)
    without, guarded = found.values()
    added = 1000 * (statistics.median(guarded) - statistics.median(without))
    return [
        row("chat over HTTP", "to the stream's header, p50 / p99", ms(guarded), ms(without)),
        row("chat over HTTP", "added by the guard at p50", Measure((added,), "ms"), target=Target("<=", (1.5,))),
    ]


def rows_of_usage(tenant_id: UUID) -> list[Row]:
    """A statement that ends something, with and without the three entries of a chat."""
    entries, bare = [], []
    for number in range(2 * ROWS):
        if number % 4 in (0, 3):
            values = {"tenant_id": tenant_id, **usage.values(usage.source_of(uuid7()), CHAT)}
            entries.append(seconds(lambda values=values: database.execute_prepared(USAGE_ROW, values).fetchone()))  # type: ignore[misc]
        else:
            bare.append(seconds(lambda: database.execute_prepared(BARE_ROW, {"tenant_id": tenant_id}).fetchone()))
    added = 1000 * (statistics.median(entries) - statistics.median(bare))
    return [
        row("usage of a chat", "transaction with three entries, p50 / p99", ms(entries), ms(bare)),
        row("usage of a chat", "added at p50", Measure((added,), "ms")),
    ]


def sums(tenant_id: UUID) -> list[Row]:
    """Folding many entries, and loading a tenant's numbers with all of them folded and with none."""
    fold_all()
    with transaction():
        database.execute_sql(FILL, {"tenant_id": tenant_id, "count": ENTRIES})
    unfolded = loads(tenant_id)
    took = seconds(fold_all)
    return [
        row("sums", f"{ENTRIES:,} entries folded", Measure((ENTRIES / took,), "entries/s"), better="higher"),
        row("sums", f"a tenant's numbers loaded, {ENTRIES:,} entries folded", ms(loads(tenant_id))),
        row("sums", "the same, none folded", ms(unfolded)),
    ]


def fold_all() -> None:
    is_done = False
    while not is_done:
        with transaction():
            is_done = not counters.fold()


def loads(tenant_id: UUID) -> list[float]:
    found = []
    for _ in range(LOADS):
        redis_client().delete(holds.key_of(tenant_id))
        found.append(begin(tenant_id))
    return found


def prepare() -> UUID:
    """The demo tenant, on a plan with limits that are far away."""
    tenant_id: UUID = database.execute_sql("select id from tenant where slug = 'demo'").fetchone()[0]
    database.execute_sql("insert into plan (code, name) values ('bench', 'Bench') on conflict do nothing")
    for feature in quotas.RUN:
        database.execute_sql(
            """insert into plan_limit (plan_code, feature, unit, soft_limit, hard_limit)
               values ('bench', %s, 'units', %s, %s) on conflict do nothing""",
            (feature, LARGE, LARGE),
        )
    database.execute_sql("update tenant set plan_code = 'bench' where id = %s", (tenant_id,))
    return tenant_id


def main() -> None:
    setup = Setup.from_arguments()
    with settings.override(enable_billing=False, enable_usage_guardrails=True):
        tenant_id = prepare()
        rows = guard(tenant_id) + chats(setup) + rows_of_usage(tenant_id) + sums(tenant_id)
    database.close()
    print_rows(rows)


if __name__ == "__main__":
    main()
