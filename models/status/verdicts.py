"""What follows from the results of a service's probes: an incident is opened, or resolved.

Operators have the last word. A probe opens nothing while an incident or maintenance that somebody has published covers the service;
it does not resolve an incident to which somebody else has added an update; and if somebody has ended its incident, it opens the
next one only after the service was seen to work in between.
"""

from datetime import timedelta

from peewee import fn

from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.locks import lock
from models.platform.settings import settings
from models.status import checks
from models.status.checks import Streak
from models.status.history import DOWN
from models.status.incident_changes import add_update, open_incident
from models.status.incidents import MAJOR, RESOLVED, SCHEDULED, Incident, Update
from models.status.services import Service

PROBE = "probe"  # who writes the updates of probes
FLAPPING = timedelta(hours=2)  # each incident that has ended in this time doubles the successes that end the next one
MOST_DOUBLINGS = 4


@in_transaction
def judge(service: Service) -> Update | None:
    """Open or resolve the incident of this service's probe, if its newest results are reason to. Returns the update: send
    STATUS_FAN_OUT for it if its `notify` is true."""
    lock("status-verdict", service.key)
    streak = checks.streak(service.key, now())
    own = (Incident.probe == service.key) & Incident.ended_at.is_null()
    mine = Incident.select().where(own).for_update().get_or_none()
    if mine is None:
        return _open(service, streak) if streak.failures >= settings.status_probe_failures else None
    if streak.successes >= _wanted(service.key) and not was_taken_over(mine):
        text = f"The checks of {service.name} succeed again: the last {streak.successes} of them did."
        return add_update(PROBE, mine.id, state=RESOLVED, text=text)
    return None


def was_taken_over(incident: Incident) -> bool:
    """Whether somebody else has added an update to the incident of a probe."""
    return Update.select().where((Update.incident_id == incident.id) & (Update.creator != PROBE)).exists()


def _open(service: Service, streak: Streak) -> Update | None:
    if _is_covered(service.key) or not _may_open(service.key):
        return None
    since = streak.since or now()
    _, update = open_incident(
        PROBE,
        title=f"{service.name} is not available",
        impact=f"{service.name} does not work, or not for everybody.",
        severity=MAJOR,
        services={service.key: DOWN},
        text=f"Our checks of {service.name} have failed since {since:%H:%M} UTC. We are looking into it.",
        starts_at=since,
        publish=not settings.status_incident_drafts,
        probe=service.key,
    )
    return update


def _is_covered(key: str) -> bool:
    """Whether people are told already: by an incident, or maintenance that has begun."""
    is_open = Incident.ended_at.is_null() & Incident.published_at.is_null(False) & (Incident.state != SCHEDULED)
    return Incident.select().where(is_open & fn.jsonb_exists(Incident.services, key)).exists()


def _may_open(key: str) -> bool:
    """Whether the last incident of this probe has ended by itself, or the service was seen to work since."""
    ended = Incident.select().where((Incident.probe == key) & Incident.ended_at.is_null(False))
    last = ended.order_by(Incident.ended_at.desc()).limit(1).get_or_none()
    if last is None or last.ended_at is None or not was_taken_over(last):
        return True
    return checks.was_good_since(key, last.ended_at)


def _wanted(key: str) -> int:
    """Successes in a row that end an incident: the more, the more often the service has failed lately."""
    ended = (Incident.probe == key) & (Incident.ended_at > now() - FLAPPING)
    doublings = min(MOST_DOUBLINGS, Incident.select().where(ended).count())
    return settings.status_probe_recoveries << doublings
