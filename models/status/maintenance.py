"""Maintenance starts and ends by itself, at the times that were announced."""

from uuid import UUID

from models.platform.clock import now
from models.platform.database import in_transaction
from models.status.incident_changes import add_update
from models.status.incidents import COMPLETED, IN_PROGRESS, MAINTENANCE, SCHEDULED, Incident, Update

SCHEDULE = "schedule"  # who writes the updates
MOST = 100  # in one go
BEGUN, OVER = "Maintenance has begun.", "Maintenance is over."


def due() -> list[UUID]:
    """What is to start or to end now. Drafts are not: nobody was told of them."""
    is_open = (Incident.kind == MAINTENANCE) & Incident.published_at.is_null(False) & Incident.ended_at.is_null()
    starts = (Incident.state == SCHEDULED) & (Incident.starts_at <= now())
    query = Incident.select(Incident.id).where(is_open & (starts | (Incident.until <= now())))
    return [row.id for row in query.order_by(Incident.starts_at).limit(MOST)]


@in_transaction
def advance(incident_id: UUID) -> Update | None:
    """Start or end one of them, if that is still due. Send STATUS_FAN_OUT for the update if its `notify` is true."""
    incident = Incident.lock(incident_id)
    if incident is None or incident.ended_at is not None or incident.published_at is None:
        return None
    if incident.until is not None and incident.until <= now():
        return add_update(SCHEDULE, incident.id, state=COMPLETED, text=OVER)
    if incident.state == SCHEDULED and incident.starts_at <= now():
        return add_update(SCHEDULE, incident.id, state=IN_PROGRESS, text=BEGUN)
    return None
