"""Opening incidents and maintenance, and telling how they go on. Whoever calls this sends the job that tells subscribers.

An incident moves freely between its states until it has ended; maintenance does not go back to `scheduled`. What has ended
stays so: a problem that comes back is a new incident. A draft is seen by operators only, and nobody is told of it.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from models.platform import audit
from models.platform.clock import iso, now
from models.platform.database import in_transaction
from models.platform.errors import BadRequest, Conflict, DomainError
from models.platform.principal import Principal
from models.status import slugs, texts
from models.status.incidents import (
    ENDS,
    IN_PROGRESS,
    INCIDENT,
    MAINTENANCE,
    MINOR,
    SCHEDULED,
    SEVERITIES,
    STATES,
    Incident,
    IncidentNotFound,
    Update,
)
from models.status.services import DEGRADED, known

EFFECTS = {INCIDENT: (DEGRADED, INCIDENT), MAINTENANCE: (MAINTENANCE,)}
LONGEST_CREATOR = 64


class IncidentInvalid(BadRequest):
    code = "incident_invalid"


class IncidentEnded(Conflict):
    code, message = "incident_ended", "It has ended. What comes back is a new incident."


class IncidentIsPublished(Conflict):
    code, message = "incident_published", "It is published already."


class ProbeHasIncident(Conflict):
    code, message = "probe_has_incident", "The probe of this service has an open incident already."


class IncidentChanged(DomainError):
    status, code = 412, "incident_changed"
    message = "Somebody has changed the incident meanwhile. Read it again, and send its ETag as If-Match."


@in_transaction
def open_incident(
    by: Principal | str,
    *,
    title: str,
    impact: str,
    services: Mapping[str, str | None],
    text: str,
    kind: str = INCIDENT,
    severity: str | None = None,
    state: str | None = None,
    starts_at: datetime | None = None,
    until: datetime | None = None,
    publish: bool = True,
    probe: str | None = None,
    notify: bool = True,
) -> tuple[Incident, Update]:
    """The new incident and its first update. Send STATUS_FAN_OUT for the update if its `notify` is true: never for drafts.

    `by`: who, such as `probe`. `services`: how each affected one is, by its key; None: as the severity says. `severity`: by
    default major. Maintenance has none; it needs `until`, and has begun unless `starts_at` is ahead. IncidentInvalid or
    UnknownService (400); ProbeHasIncident (409) if the probe's last one is open.
    """
    time = now()
    starts_at = starts_at or time
    severity = severity or (MAINTENANCE if kind == MAINTENANCE else "major")
    _check_times(kind, starts_at, until)
    if until is not None and until <= time:
        raise IncidentInvalid("The end of this maintenance is past. Give an `until` that is ahead.")
    if state is None:
        state = STATES[kind][0] if kind == INCIDENT or starts_at > time else IN_PROGRESS
    _check_state(kind, state, None)
    incident = _insert(
        kind=kind,
        title=texts.line(title, texts.TITLE, "title"),
        impact=texts.text(impact, texts.IMPACT, "impact"),
        severity=_severity(kind, severity),
        state=state,
        services=_effects(kind, severity, services),
        probe=probe,
        published_at=time if publish else None,
        starts_at=starts_at,
        until=until,
    )
    update = _tell(by, incident, text, notify=notify and publish)
    audit.record("status.incident_opened", by, _reference(incident), state=state, is_draft=not publish)
    return incident, update


@in_transaction
def add_update(
    by: Principal | str,
    incident_id: UUID,
    *,
    text: str,
    state: str | None = None,
    notify: bool = True,
    impact: str | None = None,
    severity: str | None = None,
    services: Mapping[str, str | None] | None = None,
    until: datetime | None = None,
    versions: Collection[int] | None = None,
) -> Update:
    """Tell how it goes on. Send STATUS_FAN_OUT for the update if its `notify` is true: never for drafts.

    `state`: None, it stays in its state. `versions`: only if it has one of these, else IncidentChanged (412). What is None
    does not change. IncidentNotFound (404), IncidentEnded (409), IncidentInvalid or UnknownService (400).
    """
    incident = _locked(incident_id, versions)
    if incident.ended_at is not None:
        raise IncidentEnded()
    state = state or incident.state
    _check_state(incident.kind, state, incident.state)
    _set(incident, impact=impact, severity=severity, services=services, until=until)
    incident.state = state
    incident.ended_at = now() if state in ENDS else None
    _save(incident)
    update = _tell(by, incident, text, notify=notify and incident.published_at is not None)
    audit.record("status.update_added", by, _reference(incident), state=state, update_id=str(update.id))
    return update


@in_transaction
def publish(
    by: Principal | str, incident_id: UUID, *, notify: bool = True, versions: Collection[int] | None = None
) -> Update:
    """Show a draft to everybody. Returns its newest update; send STATUS_FAN_OUT for it if its `notify` is true.

    IncidentNotFound (404), IncidentIsPublished (409), IncidentChanged (412).
    """
    incident = _locked(incident_id, versions)
    if incident.published_at is not None:
        raise IncidentIsPublished()
    incident.published_at = now()
    _save(incident)
    update: Update = Update.select().where(Update.incident_id == incident.id).order_by(Update.id.desc()).get()
    update.notify = notify
    update.save(only=[Update.notify])
    audit.record("status.incident_published", by, _reference(incident), update_id=str(update.id))
    return update


@in_transaction
def change(
    by: Principal | str,
    incident_id: UUID,
    *,
    title: str | None = None,
    impact: str | None = None,
    severity: str | None = None,
    services: Mapping[str, str | None] | None = None,
    starts_at: datetime | None = None,
    until: datetime | None = None,
    versions: Collection[int] | None = None,
) -> Incident:
    """Correct what is said of it, also after its end, without telling anybody. What is None does not change. Its slug stays.

    IncidentNotFound (404), IncidentChanged (412), IncidentInvalid or UnknownService (400).
    """
    incident = _locked(incident_id, versions)
    before = _described(incident)
    if title is not None:
        incident.title = texts.line(title, texts.TITLE, "title")
    if starts_at is not None and incident.kind == MAINTENANCE and incident.state != SCHEDULED:
        raise IncidentInvalid("Maintenance that has begun cannot be moved.")
    _set(incident, impact=impact, severity=severity, services=services, starts_at=starts_at, until=until)
    after = _described(incident)
    differences = {key: [before[key], value] for key, value in after.items() if before[key] != value}
    if not differences:
        return incident
    _save(incident)
    audit.record("status.incident_changed", by, _reference(incident), changes=differences)
    return incident


@in_transaction
def discard(by: Principal | str, incident_id: UUID, *, versions: Collection[int] | None = None) -> None:
    """Delete a draft. IncidentNotFound (404), IncidentIsPublished (409), IncidentChanged (412)."""
    incident = _locked(incident_id, versions)
    if incident.published_at is not None:
        raise IncidentIsPublished()
    incident.delete_instance()
    audit.record("status.incident_discarded", by, _reference(incident), title=incident.title)


def _insert(**columns: Any) -> Incident:
    for slug in slugs.candidates(columns["title"], next(iter(columns["services"])), columns["starts_at"]):
        incident = Incident.insert_if_new(slug=slug, **columns)
        if incident is not None:
            return incident
        if columns["probe"] is not None and Incident.open_of_probe(columns["probe"]) is not None:
            break
    raise ProbeHasIncident()


def _locked(incident_id: UUID, versions: Collection[int] | None) -> Incident:
    incident = Incident.lock(incident_id)
    if incident is None:
        raise IncidentNotFound()
    if versions is not None and incident.version not in versions:
        raise IncidentChanged()
    return incident


def _save(incident: Incident) -> None:
    incident.version += 1
    incident.updated_at = now()
    incident.save()


def _tell(by: Principal | str, incident: Incident, text: str, *, notify: bool) -> Update:
    creator = by.subject if isinstance(by, Principal) else str(by)
    return Update.create(
        incident_id=incident.id,
        state=incident.state,
        text=texts.text(text, texts.UPDATE, "text"),
        creator=creator[:LONGEST_CREATOR],
        notify=notify,
    )


def _set(
    incident: Incident,
    *,
    impact: str | None,
    severity: str | None,
    services: Mapping[str, str | None] | None,
    starts_at: datetime | None = None,
    until: datetime | None = None,
) -> None:
    if impact is not None:
        incident.impact = texts.text(impact, texts.IMPACT, "impact")
    if severity is not None:
        incident.severity = _severity(incident.kind, severity)
    if services is not None:
        incident.services = _effects(incident.kind, incident.severity, services)
    incident.starts_at = starts_at or incident.starts_at
    incident.until = until or incident.until
    if starts_at or until:
        _check_times(incident.kind, incident.starts_at, incident.until)


def _severity(kind: str, severity: str) -> str:
    if severity not in SEVERITIES[kind]:
        raise IncidentInvalid(f"The severity of this kind is one of: {', '.join(SEVERITIES[kind])}.")
    return severity


def _effects(kind: str, severity: str, services: Mapping[str, str | None]) -> dict[str, str]:
    usual = MAINTENANCE if kind == MAINTENANCE else DEGRADED if severity == MINOR else INCIDENT
    effects = {key: services[key] or usual for key in known(list(services))}
    if not effects:
        raise IncidentInvalid("Name at least one service.")
    if wrong := sorted(set(effects.values()) - set(EFFECTS[kind])):
        raise IncidentInvalid(f"A service cannot be {wrong[0]!r} here, but: {', '.join(EFFECTS[kind])}.")
    return effects


def _check_state(kind: str, state: str, before: str | None) -> None:
    if state not in STATES[kind]:
        raise IncidentInvalid(f"The state of this kind is one of: {', '.join(STATES[kind])}.")
    if before is None and state in ENDS:
        raise IncidentInvalid("What is new has not ended yet.")
    if state == SCHEDULED and before not in (None, SCHEDULED):
        raise IncidentInvalid("Maintenance that has begun is not scheduled any more.")


def _check_times(kind: str, starts_at: datetime, until: datetime | None) -> None:
    if kind == MAINTENANCE and (until is None or until <= starts_at):
        raise IncidentInvalid("Maintenance has an `until`, which is later than its start.")
    if kind == INCIDENT and until is not None:
        raise IncidentInvalid("Only maintenance has an `until`.")
    if kind == INCIDENT and starts_at > now():
        raise IncidentInvalid("An incident has begun already. What is ahead is maintenance.")


def _described(incident: Incident) -> dict[str, Any]:
    names = ("title", "impact", "severity", "services")
    times = {"starts_at": iso(incident.starts_at), "until": iso(incident.until) if incident.until else None}
    return {name: getattr(incident, name) for name in names} | times


def _reference(incident: Incident) -> str:
    return f"status_incident:{incident.slug}"
