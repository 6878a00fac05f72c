"""Who sends which delivery, and what came of it.

A claim takes deliveries that are due, for some time; after it, they are due again: their sender was killed. Of one host only
some are claimed at once, over all processes. A host that did not answer several times in a row is put off as a whole, and
then asked once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models.platform.clock import now
from models.platform.database import database, in_transaction, transaction
from models.platform.ids import uuid7
from models.platform.locks import lock_for_next
from models.platform.settings import settings
from models.status.deliveries import SLACK, StatusDelivery
from models.status.subscriptions import EMAIL, WEBHOOK

MAILS, POSTS = "mails", "posts"  # what is sent by one server, and what goes to many hosts
CHANNELS = {MAILS: [EMAIL], POSTS: [WEBHOOK, SLACK]}
CLAIM_SECONDS = 120
MAILS_AT_ONCE = 400  # claimed, not sent: they share a few connections
FAILURES_OF_HOST = 3  # without an answer, after which the host is put off
LONGEST_PUT_OFF = 300  # seconds
LOCK = "status_deliveries"
RECORDS = "status_results"  # written down by one at a time: the rows of hosts and subscriptions are locked in no order
# The hosts in their order, from `after` on: each is found by its index, and only as many are looked at as are needed. The
# limits in `known`, `free` and `found` keep the planner from joining in another order. A host that gave no answer is asked for
# what was tried least: deliveries that always fail, such as to one path that hangs, must not hold up all others of the host.
HOSTS = """
    (select host from status_delivery where state = 'pending' and host > %(after)s order by host limit 1)
    union all
    select (select next.host from status_delivery next where next.state = 'pending' and next.host > hosts.host
        order by next.host limit 1)
    from hosts where hosts.host is not null"""
CLAIM = """
with recursive hosts(host) as ({hosts}
), picked as (
    select found.id from hosts
    left join lateral (select failures, put_off_until from status_host where host = hosts.host limit 1) known on true
    cross join lateral (
        select case when failures > 0 then 1 when hosts.host like 'slack:%' then 1 else %(of_host)s end - count(*) as room
        from status_delivery where host = hosts.host and claim is not null and claimed_until > now()
    ) free
    cross join lateral (
        select * from (
            select id from status_delivery due where due.host = hosts.host and due.state = 'pending' and due.due_at <= now()
            and coalesce(known.failures, 0) = 0 order by due.due_at, due.id limit greatest(0, free.room) for update of due skip locked
        ) of_well union all select * from (
            select id from status_delivery due where due.host = hosts.host and due.state = 'pending' and due.due_at <= now()
            and known.failures > 0 order by due.attempts, due.due_at limit greatest(0, free.room) for update of due skip locked
        ) of_ill
    ) found
    where hosts.host {which} 'email' and (put_off_until is null or put_off_until <= now())
    limit %(limit)s
)
update status_delivery delivery set claim = %(claim)s, claimed_until = %(until)s, due_at = %(until)s, attempts = attempts + 1
from picked, (select id, claim from status_delivery where id in (select id from picked)) before
where delivery.id = picked.id and before.id = picked.id
returning {{delivery.columns}}, before.claim is not null as again"""
CLAIMS = {
    POSTS: CLAIM.format(hosts=HOSTS, which="<>"),
    MAILS: CLAIM.format(hosts="select 'email'::varchar where %(after)s = ''", which="="),
}
RECORD = """
update status_delivery delivery set state = result.state, status_code = result.status_code, error = result.error,
    due_at = result.due_at, attempts = attempts - result.unsent, claim = null, claimed_until = null,
    finished_at = case result.state when 'pending' then null else now() end
from unnest(%(ids)s::uuid[], %(states)s::text[], %(codes)s::int[], %(errors)s::text[], %(due)s::timestamptz[], %(unsent)s::int[])
    as result(id, state, status_code, error, due_at, unsent)
where delivery.id = result.id and delivery.claim = %(claim)s
returning delivery.id"""
PUT_OFF = """
insert into status_host (host, failures, put_off_until)
select host, 1, null from unnest(%(hosts)s::text[]) host order by host
on conflict (host) do update set updated_at = now(), failures = status_host.failures + 1, put_off_until =
    case when status_host.failures + 1 >= %(many)s
    then now() + least(%(longest)s, 5 * 2 ^ least(10, status_host.failures + 1 - %(many)s)) * (0.8 + 0.4 * random()) * interval '1 second' end"""
PAUSE = """
insert into status_host (host, put_off_until) select host, until from unnest(%(hosts)s::text[], %(until)s::timestamptz[])
    as pause(host, until) order by host
on conflict (host) do update set updated_at = now(), failures = 0, put_off_until = excluded.put_off_until"""
ANSWERED = "delete from status_host where host = any(%(hosts)s)"
DUE = """
select min(greatest(due_at, put_off_until)) from status_delivery left join status_host using (host)
where state = 'pending' and channel = any(%(channels)s)
    and due_at <= now() + %(seconds)s * interval '1 second'
    and (put_off_until is null or put_off_until <= now() + %(seconds)s * interval '1 second')"""
GIVE_UP = """
update status_delivery set state = 'given_up', finished_at = now(), claim = null, claimed_until = null,
    error = coalesce(error, 'It could not be sent in time.')
where id = any(array(select id from status_delivery where state = 'pending' and give_up_at < now() - interval '5 minutes'
    and (claimed_until is null or claimed_until < now()) limit %(limit)s for update skip locked))
returning channel"""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one attempt. `state`: PENDING if there will be another one, at `due_at`.

    `is_silent`: the host gave no answer at all. `is_unsent`: nothing was tried. `pause`: nothing is sent to the host before.
    """

    delivery: StatusDelivery
    state: str
    status_code: int | None = None
    error: str | None = None
    due_at: datetime | None = None
    is_silent: bool = False
    is_unsent: bool = False
    pause: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """`again`: those of them that a sender had claimed which was killed: it may have sent them."""

    deliveries: list[StatusDelivery]
    again: list[StatusDelivery]
    last_host: str


def claim(kind: str, limit: int, after: str = "") -> Claimed:
    """Take up to `limit` deliveries that are due, for CLAIM_SECONDS, of hosts after this one; then from the first host on."""
    with transaction():
        lock_for_next(LOCK)
        found = _claim(kind, limit, after)
        if len(found) < limit and after:
            found += _claim(kind, limit - len(found), "")
    deliveries = [delivery for delivery, _ in found]
    again = [delivery for delivery, more in found if more["again"]]
    return Claimed(deliveries, again, deliveries[-1].host if len(deliveries) == limit else "")


def _claim(kind: str, limit: int, after: str) -> list[tuple[StatusDelivery, dict[str, Any]]]:
    return StatusDelivery.all_with_extras(
        CLAIMS[kind],
        after=after,
        of_host=settings.status_host_concurrency if kind == POSTS else MAILS_AT_ONCE,
        limit=limit,
        claim=uuid7(),
        until=now() + timedelta(seconds=CLAIM_SECONDS),
    )


@in_transaction
def record(results: Sequence[Result]) -> list[Result]:
    """Write down what came of attempts. Returns those that counted: not those whose claim had passed to somebody else."""
    lock_for_next(RECORDS)
    recorded: set[UUID] = set()
    for claim_id in {result.delivery.claim for result in results}:
        recorded |= _record(claim_id, [result for result in results if result.delivery.claim == claim_id])
    tried = [result for result in results if not result.is_unsent]
    paused = {result.delivery.host: result.pause for result in results if result.pause}
    answered = {result.delivery.host for result in tried if not result.is_silent} - paused.keys()
    silent = {result.delivery.host for result in tried if result.is_silent} - answered - paused.keys()
    if answered:
        database.execute_sql(ANSWERED, {"hosts": sorted(answered)})
    if silent:
        values = {"hosts": sorted(silent), "many": FAILURES_OF_HOST, "longest": LONGEST_PUT_OFF}
        database.execute_sql(PUT_OFF, values)
    if paused:
        database.execute_sql(PAUSE, {"hosts": list(paused), "until": list(paused.values())})
    return [result for result in results if result.delivery.id in recorded]


def _record(claim_id: UUID | None, results: Sequence[Result]) -> set[UUID]:
    values = {
        "claim": claim_id,
        "ids": [result.delivery.id for result in results],
        "states": [result.state for result in results],
        "codes": [result.status_code for result in results],
        "errors": [result.error for result in results],
        "due": [result.due_at or now() for result in results],
        "unsent": [int(result.is_unsent) for result in results],
    }
    return {row[0] for row in database.execute_sql(RECORD, values).fetchall()}


def next_due(kind: str, within: float) -> datetime | None:
    """When the next delivery is due, as far as hosts let it; None if none is within so many seconds."""
    row = database.execute_sql(DUE, {"channels": CHANNELS[kind], "seconds": within}).fetchone()
    found: datetime | None = row[0]
    return found


@in_transaction
def give_up_late(limit: int = 1000) -> list[str]:
    """End deliveries that could not be sent in all their time, such as to a host that was always put off. Returns their channels."""
    return [row[0] for row in database.execute_sql(GIVE_UP, {"limit": limit}).fetchall()]
