"""The jobs that send deliveries. Each keeps some threads busy with what is due, until nothing is."""

import logging
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from peewee import InterfaceError, OperationalError

from models.platform.database import in_transaction, release, transaction
from models.status import claims
from models.status.claims import Result
from models.status.deliveries import DELIVERED, GIVEN_UP, PENDING, StatusDelivery
from models.status.subscriptions import WEBHOOK
from workers import metrics
from workers.jobs import STATUS_DELIVER
from workers.runtime import Lease, actor
from workers.status import outcomes
from workers.status.fan_out import start_senders
from workers.status.sending import GONE, Outbox, failed, seconds_until

log = logging.getLogger(__name__)

THREADS = {claims.MAILS: 4, claims.POSTS: 48}
CLAIMED_AT_ONCE = {claims.MAILS: 80, claims.POSTS: 48}
WORK_SECONDS = 240  # then another job goes on
LINGER_SECONDS = 10  # for what is due soon, such as the first repetition
WAIT_SECONDS, IDLE_SECONDS = 0.1, 0.25
RECORD_AGAIN = (0.2, 1, 2, 4, 8)  # seconds between attempts, all within what is left of the claims


@actor(STATUS_DELIVER)
def deliver(lease: Lease) -> None:
    """Send what is due of one kind. A kill loses nothing: claims end, and then others send it."""
    kind = lease.job.args["what"]
    with ThreadPoolExecutor(THREADS[kind], thread_name_prefix="status") as threads:
        Sender(lease, kind, threads).run()
    with transaction():
        lease.job.finish()
        start_senders(within=LINGER_SECONDS)


class Sender:
    """Claims deliveries as threads get free, and writes down what came of them in batches."""

    def __init__(self, lease: Lease, kind: str, threads: ThreadPoolExecutor) -> None:
        self.lease, self.kind, self.threads = lease, kind, threads
        self.outbox, self.last_host = Outbox(), ""
        self.flying: dict[Future[list[Result]], list[StatusDelivery]] = {}

    def run(self) -> None:
        stop_at = time.monotonic() + WORK_SECONDS
        try:
            while time.monotonic() < stop_at and (self._start() or self.flying or self._has_soon()):
                self.lease.checkpoint()
                self._settle(WAIT_SECONDS)
        finally:
            while self.flying:  # a few seconds: each of them has a time limit
                self._settle(None)

    def _start(self) -> int:
        """Claim as much as there is room for, and have it sent. Returns how many deliveries that were."""
        room = CLAIMED_AT_ONCE[self.kind] - sum(len(some) for some in self.flying.values())
        if room < CLAIMED_AT_ONCE[self.kind] // 4:
            return 0
        claimed = claims.claim(self.kind, room, self.last_host)
        self.last_host = claimed.last_host
        for delivery in claimed.again:
            metrics.status_delivery(delivery.channel, "perhaps_twice")
        for deliveries, task in self.outbox.tasks(claimed.deliveries):
            self.flying[self.threads.submit(task)] = deliveries
        release()
        return len(claimed.deliveries)

    def _has_soon(self) -> bool:
        due = claims.next_due(self.kind, LINGER_SECONDS)
        release()
        return due is not None and seconds_until(due) < LINGER_SECONDS

    def _settle(self, seconds: float | None) -> None:
        """Wait for something to end, and write it down."""
        if not self.flying:
            time.sleep(IDLE_SECONDS)
            return
        done, _ = wait(self.flying, seconds, FIRST_COMPLETED)
        results = [result for future in done for result in _results(future, self.flying.pop(future))]
        if results:
            _record_surely(results)


def _results(future: Future[list[Result]], deliveries: list[StatusDelivery]) -> list[Result]:
    """What a task returned. One that has broken off in the middle counts as a failure of all its deliveries."""
    if error := future.exception():
        log.error("status.delivery_broken", exc_info=error)
        return [failed(delivery, "It could not be put together.") for delivery in deliveries]
    return future.result()


def _record_surely(results: list[Result]) -> None:
    """Write them down, also while Postgres restarts: what is not written down is sent twice."""
    for seconds in RECORD_AGAIN:
        try:
            _record(results)
        except (OperationalError, InterfaceError) as error:
            log.warning("status.results_unrecorded", extra={"reason": repr(error)[:200], "again_in": seconds})
            release()
            time.sleep(seconds)
        else:
            release()
            return
    _record(results)
    release()


def _record(results: list[Result]) -> None:
    with transaction():
        recorded = claims.record(results)
        _tell_subscriptions([result for result in recorded if result.delivery.channel == WEBHOOK])
    for result in recorded:
        if not result.is_unsent:
            metrics.status_delivery(result.delivery.channel, "retried" if result.state == PENDING else result.state)


@in_transaction
def _tell_subscriptions(results: list[Result]) -> None:
    """What came of deliveries to webhooks decides about their subscriptions: one that is always dead is disabled."""
    by_id = {result.delivery.subscription_id: result for result in results if result.delivery.subscription_id}
    gone = [key for key, result in by_id.items() if result.status_code == GONE]
    delivered = [key for key, result in by_id.items() if result.state == DELIVERED]
    given_up = {
        key: result.error or ""
        for key, result in by_id.items()
        if result.state == GIVEN_UP and result.status_code != GONE
    }
    outcomes.record(delivered, given_up, gone)
