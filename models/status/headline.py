"""How each service is now, and how everything is: in one word, and in a few."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from models.platform.settings import settings
from models.status.history import Check
from models.status.incidents import CRITICAL, SCHEDULED
from models.status.services import DEGRADED, INCIDENT, MAINTENANCE, OPERATIONAL, UNKNOWN, Service
from models.status.views import IncidentView, ServiceView

WORST_FIRST = (INCIDENT, DEGRADED, MAINTENANCE, OPERATIONAL, UNKNOWN)
OLD = timedelta(minutes=5)  # what a probe has found is not known to be true any more
STATES = {
    INCIDENT: "Service disruption",
    DEGRADED: "Degraded service",
    MAINTENANCE: "Maintenance in progress",
    UNKNOWN: "Not checked at present",
    OPERATIONAL: "All systems operational",
}
SENTENCES = {
    INCIDENT: "Something does not work. Affected: {names}.",
    DEGRADED: "Not everything works as it should. Affected: {names}.",
    MAINTENANCE: "Planned work is going on. Affected: {names}.",
    UNKNOWN: "Not checked lately: {names}.",
}


def worst(statuses: Iterable[str]) -> str:
    there = set(statuses)
    return next((status for status in WORST_FIRST if status in there), UNKNOWN)


def effects(incidents: Iterable[IncidentView], suspected: Mapping[str, str]) -> dict[str, str]:
    """How incidents and maintenance affect services now, by their keys. `suspected`: what is not published yet."""
    found: dict[str, list[str]] = {key: [effect] for key, effect in suspected.items()}
    for incident in incidents:
        if incident.is_open and incident.state != SCHEDULED:
            for key, effect in incident.services.items():
                found.setdefault(key, []).append(effect)
    return {key: worst(several) for key, several in found.items()}


def status(service: Service, effect: str | None, check: Check | None, now: datetime) -> str:
    """What was declared, or else what the probe has found. One failed check is not an incident yet: see STATUS_PROBE_FAILURES."""
    if effect is not None:
        return effect
    if service.probe is None:
        return OPERATIONAL
    if check is None or now - check.at > OLD:
        return UNKNOWN
    return DEGRADED if check.state == DEGRADED else OPERATIONAL


def words(services: Sequence[ServiceView], incidents: Iterable[IncidentView]) -> tuple[str, str, str]:
    """The worst status of all services; the headline; and a sentence that says which ones."""
    overall = worst(service.status for service in services)
    if overall == OPERATIONAL:
        return _operational([service.name for service in services if service.status == UNKNOWN])
    is_critical = any(each.is_open and each.severity == CRITICAL for each in incidents)
    state = "Major outage" if overall == INCIDENT and is_critical else STATES[overall]
    names = _listed([service.name for service in services if service.status == overall])
    return overall, state, SENTENCES[overall].format(names=names)


def _operational(unknown: Sequence[str]) -> tuple[str, str, str]:
    if unknown:
        return OPERATIONAL, "All checked systems operational", f"Not checked lately: {_listed(unknown)}."
    return OPERATIONAL, STATES[OPERATIONAL], f"{settings.app_name} works as it should."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)


def by_day(incidents: Iterable[IncidentView], now: datetime) -> Mapping[tuple[str, int], int]:
    """How many incidents affected a service on a day: by its key and the day's ordinal (UTC)."""
    found: dict[tuple[str, int], int] = {}
    for incident in incidents:
        if not incident.is_maintenance:
            first, last = incident.starts_at.date().toordinal(), (incident.ended_at or now).date().toordinal()
            for key in incident.services:
                for day in range(max(first, last - 100), last + 1):
                    found[key, day] = found.get((key, day), 0) + 1
    return found
