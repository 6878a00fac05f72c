"""The actors that sum up usage and tell it to Stripe's meters."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from uuid import UUID

from models.billing import counters, quotas, usage_batches, usage_notices
from models.billing.usage_batches import Batch
from models.platform.clock import now
from models.platform.database import release, transaction
from models.platform.settings import settings
from workers import metrics
from workers.billing.meters import Arrived, has_arrived, send
from workers.gateways.stripe import ProviderError, ProviderRejected
from workers.jobs import USAGE_FOLD, USAGE_FORWARD, enqueue
from workers.runtime import Lease, actor

AT_ONCE = 8  # calls of Stripe
CLAIMED = 200  # batches


@actor(USAGE_FOLD)
def fold_usage(lease: Lease) -> None:
    """Sum up what was counted since the last time, and have it forwarded."""
    quotas.free_abandoned()
    tenants: set[UUID] = set()
    while folded := _fold():
        tenants.update(folded)
        lease.checkpoint()
    usage_notices.tell_limits(sorted(tenants))
    if settings.enable_billing:
        with transaction():
            usage_batches.seal()
            if usage_batches.is_any_due():
                enqueue(USAGE_FORWARD)
        metrics.USAGE_UNFORWARDED.set(usage_batches.oldest_seconds())


def _fold() -> dict[UUID, int]:
    with transaction():
        return counters.fold()


@actor(USAGE_FORWARD)
def forward_usage(lease: Lease) -> None:
    """Send batches until there are no more, or Stripe is away: then they wait, and the next job tries them again."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="meter-events") as pool:
        while batches := _claim():
            for number in range(0, len(batches), AT_ONCE):
                lease.checkpoint()
                group = batches[number : number + AT_ONCE]
                release()
                results = [_record(one) for one in pool.map(_try, group)]
                if "later" in results:
                    for batch in batches[number + AT_ONCE :]:
                        usage_batches.retry_later(batch, batch.pause(now()), "Stripe is away.")
                    return


class Result(NamedTuple):
    """`arrived`: None if it was not to be known."""

    batch: Batch
    arrived: Arrived | None = None
    error: ProviderError | None = None


def _claim() -> list[Batch]:
    with transaction():
        return usage_batches.claim(CLAIMED)


def _try(batch: Batch) -> Result:
    """Send one batch. No connection to the database is held."""
    try:
        if batch.is_sure(now()):
            send(batch)
            return Result(batch, Arrived.YES)
        return Result(batch, has_arrived(batch))
    except ProviderError as error:
        return Result(batch, error=error)
    finally:
        release()


def _record(result: Result) -> str:
    """Write down what came of a batch. Returns the result's name for metrics."""
    batch, error, at = result.batch, result.error, now()
    name = "later"
    if result.arrived is Arrived.YES:
        usage_batches.mark_sent([batch])
        name = "sent"
    elif result.arrived is Arrived.NO:
        usage_batches.send_anew(batch)
        name = "anew"
    elif isinstance(error, ProviderRejected):
        usage_batches.park(batch, f"{error.code}: {error}")
        name = "parked"
    elif error is None and at > batch.first_sent_at + usage_batches.GIVE_UP_AFTER:
        usage_batches.park(batch, "Stripe's sum of its hour does not tell whether it has arrived.")
        name = "parked"
    else:
        usage_batches.retry_later(batch, batch.pause(at), f"{error.code}: {error}" if error else "It is not known yet.")
    metrics.USAGE_BATCHES.labels(name).inc()
    return name
