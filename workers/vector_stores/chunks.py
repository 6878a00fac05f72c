"""Actors that keep the chunks of our vector stores quick to search, and remove what nobody needs."""

import logging

from models.jobs.ledger import RUNNING, Job
from models.vector_stores import indexes, removal
from workers.jobs import CHUNKS_INDEX, CHUNKS_SWEEP
from workers.runtime import Lease, actor

log = logging.getLogger(__name__)
AT_ONCE = 2  # jobs that build indexes: each keeps a thread of ours, and memory and processors of Postgres


@actor(CHUNKS_INDEX)
def index_chunks(lease: Lease) -> None:
    """Index the stores that have grown. Two such jobs at once do not index the same store, and more than two do nothing."""
    is_one = (Job.name == CHUNKS_INDEX.name) & (Job.state == RUNNING)
    if Job.select().where(is_one).count() > AT_ONCE:  # with this one
        return
    for store_id in indexes.due():
        lease.checkpoint()
        if indexes.tend(store_id):
            log.info("vector_store.indexed", extra={"vector_store_id": str(store_id)})


@actor(CHUNKS_SWEEP)
def sweep_chunks(lease: Lease) -> None:
    total = 0
    while removed := removal.sweep():
        total += removed
        lease.checkpoint()
    log.info("vector_store.swept", extra={"chunks": total})
