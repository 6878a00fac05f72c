"""What becomes of subscriptions when deliveries to them end, and their nightly tending."""

import logging
from collections.abc import Collection, Mapping
from uuid import UUID

from models.platform.database import in_transaction, transaction
from models.status import ending, fanouts, renewal
from workers.jobs import STATUS_DISABLED, STATUS_PURGE, enqueue
from workers.runtime import Lease, actor

log = logging.getLogger(__name__)


@in_transaction
def record(delivered: Collection[UUID], given_up: Mapping[UUID, str], gone: Collection[UUID] = ()) -> None:
    """By ids of subscriptions: whose deliveries have arrived, or were given up and why; and whose receivers want no more.

    A webhook that has failed too often is disabled, and whoever has made it is told.
    """
    ending.delivered(delivered)
    for subscription_id in sorted(gone):
        ending.gone(subscription_id)
    for subscription_id in ending.given_up(given_up):
        enqueue(STATUS_DISABLED, subscription_id=str(subscription_id))


@actor(STATUS_PURGE)
def purge(lease: Lease) -> None:
    """Delete subscriptions that are of no use any more; encrypt the others with the current key."""
    with transaction():
        deleted = ending.purge()
    while fanouts.purge():
        lease.checkpoint()
    renewed = renewal.encrypt_again()
    log.info("status.subscriptions_purged", extra={"deleted": deleted, "encrypted_again": renewed})
