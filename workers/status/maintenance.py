"""Each minute: maintenance whose time has come starts, or ends."""

from models.platform.database import transaction
from models.status.maintenance import advance, due
from workers.jobs import STATUS_FAN_OUT, STATUS_MAINTENANCE, enqueue
from workers.runtime import Lease, actor


@actor(STATUS_MAINTENANCE)
def keep_to_schedule(lease: Lease) -> None:
    """Each one in a transaction of its own, so that a kill leaves none half-done."""
    for incident_id in due():
        lease.checkpoint()
        with transaction():
            update = advance(incident_id)
            if update is not None and update.notify:
                enqueue(STATUS_FAN_OUT, update_id=str(update.id))
