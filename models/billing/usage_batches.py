"""What is told to Stripe's meters: batches of usage per tenant, feature and hour.

open     folding adds to it (models/billing/counters.py)
sealed   it never changes again, and its id is the identifier of its meter event
sent     Stripe has it
parked   it cannot be sent; somebody has to look

Stripe takes an identifier once, for at least a day. Within SURE a repeated event therefore never counts twice. A batch of
which it is not known by then whether it has arrived waits until that day is over. Then Stripe's sum of its hour tells.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from models.billing.usage_windows import Window
from models.platform.database import database, in_transaction
from models.platform.locks import lock

SURE = timedelta(hours=23)  # after the first attempt, in which identifiers are surely known to Stripe
ASK_AFTER = timedelta(hours=25)  # ... after which it is asked
GIVE_UP_AFTER = timedelta(days=3)  # ... after which nobody can tell
KEPT_DAYS = 40  # at least, of sent batches: they are compared with Stripe
LEASE = timedelta(minutes=3)  # after which another process sends what was taken
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=15), timedelta(minutes=10)
COLUMNS = "id, tenant_id, feature, hour, quantity, used_at, event_name, stripe_customer_id, attempts, first_sent_at"
# Open batches of customers that Stripe knows. The others wait. What adds up to nothing is dropped.
SEAL = """
with ready as (
    select batch.id, stripe_meter.event_name, billing_customer.stripe_customer_id
    from usage_batch as batch join stripe_meter using (feature) join billing_customer using (tenant_id)
    where batch.state = 'open' and billing_customer.stripe_customer_id is not null
    order by batch.created_at limit %(limit)s
), dropped as (
    delete from usage_batch where quantity = 0 and id in (select id from ready)
)
update usage_batch set state = 'sealed', due_at = now(), event_name = ready.event_name,
    stripe_customer_id = ready.stripe_customer_id
from ready where usage_batch.id = ready.id and quantity <> 0"""
CLAIM = f"""
update usage_batch set attempts = attempts + 1, due_at = now() + %(lease)s,
    first_sent_at = coalesce(first_sent_at, now())
where id = any(array( -- once, as in counters.FOLD
    select id from usage_batch where state = 'sealed' and due_at <= now() order by due_at limit %(limit)s
    for update skip locked
))
returning {COLUMNS}"""  # noqa: S608  (made of constants)
SENT = """
update usage_batch set state = 'sent', sent_at = now(), due_at = null, error = null
where id = any(%(ids)s::uuid[]) and state = 'sealed'"""
LATER = "update usage_batch set due_at = now() + %(pause)s, error = %(error)s where id = %(id)s and state = 'sealed'"
PARK = (
    "update usage_batch set state = 'parked', due_at = null, error = %(error)s where id = %(id)s and state = 'sealed'"
)
# Nothing of it has arrived: it is sent as if for the first time.
AGAIN = "update usage_batch set first_sent_at = null, due_at = now() where id = %(id)s and state = 'sealed'"
RESUME = """
update usage_batch set state = 'sealed', first_sent_at = null, attempts = 0, due_at = now(), error = null
where id = %(id)s and state = 'parked'"""
IN_HOUR = """
select coalesce(sum(quantity) filter (where state = 'sent'), 0),
    coalesce(sum(quantity) filter (where state = 'sealed' and attempts > 0), 0)
from usage_batch where tenant_id = %(tenant_id)s and feature = %(feature)s and hour = %(hour)s
    and stripe_customer_id = %(customer)s"""
METERS = "select feature, stripe_meter_id from stripe_meter order by feature"
TOLD = """
select feature, state, sum(quantity) from usage_batch
where tenant_id = %(tenant_id)s and hour >= %(start)s and hour < %(end)s group by 1, 2"""
OLDEST = """
select coalesce(extract(epoch from now() - min(created_at)), 0) from usage_batch
where state = 'sealed' or state = 'open' and exists (
    select 1 from billing_customer
    where billing_customer.tenant_id = usage_batch.tenant_id and stripe_customer_id is not null)"""
PURGE = """
delete from usage_batch where id in (
    select id from usage_batch where state = 'sent' and sent_at < now() - %(days)s * interval '1 day' limit 5000
)"""
PARKED = f"select {COLUMNS}, error from usage_batch where state = 'parked' order by created_at limit %(limit)s"  # noqa: S608


class Batch(NamedTuple):
    id: UUID
    tenant_id: UUID
    feature: str
    hour: datetime
    quantity: int
    used_at: datetime
    event_name: str
    customer: str
    attempts: int
    first_sent_at: datetime

    def is_sure(self, at: datetime) -> bool:
        """Whether an event that is sent again now cannot count twice."""
        return at < self.first_sent_at + SURE

    def pause(self, at: datetime) -> timedelta:
        """Until the next attempt."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(20, self.attempts - 1))
        return pause if self.is_sure(at + pause) else max(LONGEST_PAUSE, self.first_sent_at + ASK_AFTER - at)


class InHour(NamedTuple):
    """Of a tenant's feature: what Stripe has confirmed, and what was sent without an answer."""

    sent: int
    unsure: int


@in_transaction
def seal(limit: int = 5000) -> int:
    """Close the open batches that can be sent. Returns how many."""
    lock("usage-fold")
    return int(database.execute_sql(SEAL, {"limit": limit}).rowcount)


@in_transaction
def claim(limit: int) -> list[Batch]:
    """Batches to send now; nobody else gets them for LEASE."""
    rows = database.execute_prepared(CLAIM, {"limit": limit, "lease": LEASE}).fetchall()
    return [Batch._make(row) for row in rows]


def is_any_due() -> bool:
    query = "select exists (select 1 from usage_batch where state = 'sealed' and due_at <= now())"
    return bool(database.execute_prepared(query, {}).fetchone()[0])


def mark_sent(batches: list[Batch]) -> None:
    if batches:
        database.execute_prepared(SENT, {"ids": [batch.id for batch in batches]})


def retry_later(batch: Batch, pause: timedelta, error: str) -> None:
    database.execute_prepared(LATER, {"id": batch.id, "pause": pause, "error": error[:500]})


def send_anew(batch: Batch) -> None:
    """It is known that Stripe does not have it."""
    database.execute_prepared(AGAIN, {"id": batch.id})


def park(batch: Batch, error: str) -> None:
    database.execute_prepared(PARK, {"id": batch.id, "error": error[:500]})


def resume(batch_id: UUID) -> bool:
    """Send a parked batch again. False if it is not parked. Whoever asks knows that Stripe does not have it."""
    return bool(database.execute_prepared(RESUME, {"id": batch_id}).rowcount)


def in_hour(batch: Batch) -> InHour:
    values: dict[str, Any] = {"tenant_id": batch.tenant_id, "feature": batch.feature, "hour": batch.hour}
    row = database.execute_prepared(IN_HOUR, {**values, "customer": batch.customer}).fetchone()
    return InHour(int(row[0]), int(row[1]))


def meters() -> dict[str, str]:
    """The ids of the meters, by feature."""
    return dict(database.execute_prepared(METERS, {}).fetchall())


def told(tenant_id: UUID, window: Window) -> dict[str, dict[str, int]]:
    """The quantities of a tenant's batches by feature and state. The window has whole hours."""
    values = {"tenant_id": tenant_id, "start": window.start, "end": window.end}
    found: dict[str, dict[str, int]] = {}
    for feature, state, quantity in database.execute_prepared(TOLD, values).fetchall():
        found.setdefault(feature, {})[state] = int(quantity)
    return found


def oldest_seconds() -> float:
    """The age of the oldest usage that could be sent and was not."""
    return float(database.execute_prepared(OLDEST, {}).fetchone()[0])


def purge(days: int) -> int:
    """Delete some of the batches that Stripe has for longer than that, and KEPT_DAYS. Returns how many; the ledger stays."""
    return int(database.execute_prepared(PURGE, {"days": max(days, KEPT_DAYS)}).rowcount)


def parked(limit: int = 100) -> list[tuple[Batch, str]]:
    """Parked batches with their errors, the oldest first."""
    rows = database.execute_prepared(PARKED, {"limit": limit}).fetchall()
    return [(Batch._make(row[:-1]), row[-1]) for row in rows]
