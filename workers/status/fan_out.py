"""Fan-outs: from an update to deliveries, and from those to the jobs that send them."""

from uuid import UUID

from models.jobs.ledger import QUEUED, RUNNING, Job
from models.platform.database import in_transaction, transaction
from models.platform.ids import parse_uuid
from models.platform.locks import lock_for_next
from models.status import claims, fanouts
from workers import metrics
from workers.jobs import STATUS_DELIVER, STATUS_FAN_OUT, STATUS_TEND, enqueue
from workers.runtime import Lease, actor

LOCK = "status_senders"
SENDERS = {claims.MAILS: 1, claims.POSTS: 2}  # jobs that send at the same time, of each kind


@actor(STATUS_FAN_OUT)
def fan_out(lease: Lease) -> None:
    """Make the deliveries of an update, or of a fan-out that exists, in batches. What was made before a kill stays."""
    args = lease.job.args
    fanout_id = parse_uuid(args.get("fanout_id")) or _open(args["update_id"])
    if fanout_id is None:
        return
    has_more = True
    while has_more:
        lease.checkpoint()
        with transaction():
            has_more = fanouts.hand_out(fanout_id)
            start_senders()


def _open(update_id: str) -> UUID | None:
    with transaction():
        fanout = fanouts.of_update(UUID(update_id))
    return fanout.id if fanout else None


@actor(STATUS_TEND)
def tend(lease: Lease) -> None:
    """Go on with what nobody is at work on: fan-outs, deliveries that are due. End those whose time is over."""
    for fanout_id in fanouts.unfinished():
        with transaction():
            enqueue(STATUS_FAN_OUT, fanout_id=str(fanout_id))
    while True:
        lease.checkpoint()
        with transaction():
            ended = claims.give_up_late()
        for channel in ended:
            metrics.status_delivery(channel, "given_up")
        if not ended:
            break
    fanouts.finish_done()
    with transaction():
        start_senders(within=60)


@in_transaction
def start_senders(within: float = 1) -> None:
    """Have what is due within so many seconds sent, unless enough jobs are at it."""
    lock_for_next(LOCK)  # a sender that ends sees what was added before, or whoever adds sees that it has ended
    for kind, most in SENDERS.items():
        if claims.next_due(kind, within) is not None:
            for _ in range(most - _at_work(kind)):
                enqueue(STATUS_DELIVER, what=kind)


def _at_work(kind: str) -> int:
    is_sender = (Job.name == STATUS_DELIVER.name) & (Job.args["what"] == kind)
    return sum(Job.select().where(is_sender & (Job.state == state)).count() for state in (QUEUED, RUNNING))
