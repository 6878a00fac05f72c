"""Actors that keep the chunks of our vector stores quick to search, and remove what nobody needs."""

import logging

from models.platform.database import release
from models.vector_stores import indexes, removal
from workers.jobs import CHUNKS_INDEX, CHUNKS_SWEEP
from workers.runtime import Lease, actor

log = logging.getLogger(__name__)
AT_ONCE = 2  # jobs that index: each may take minutes, and the workers have other things to do


@actor(CHUNKS_INDEX)
def index_chunks(lease: Lease) -> None:
    """Index the stores that have grown. Two such jobs at once do not index the same store; more leave it to these."""
    is_enough = lease.job.running_before() >= AT_ONCE
    release()
    if is_enough:
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
