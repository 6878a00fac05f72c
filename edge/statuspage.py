"""The status in the shape that clients of Statuspage (Atlassian) read, its API at /api/v2."""

from collections.abc import Iterable
from typing import Any

from edge.rendered import Rendered
from edge.status_documents import as_json, url_of
from models.platform.clock import iso, iso_or_none
from models.platform.settings import settings
from models.status.incidents import CRITICAL, MAJOR, MINOR, MONITORING, SCHEDULED
from models.status.services import DEGRADED, INCIDENT, MAINTENANCE, OPERATIONAL, UNKNOWN
from models.status.snapshot import IncidentView, Snapshot
from models.status.tokens import page

JsonObject = dict[str, Any]
COMPONENT = {
    OPERATIONAL: "operational",
    UNKNOWN: "operational",  # there is no word for it
    DEGRADED: "degraded_performance",
    INCIDENT: "partial_outage",
    MAINTENANCE: "under_maintenance",
}
INDICATORS = ("none", MINOR, MAJOR, CRITICAL)


def summary(snapshot: Snapshot) -> Rendered:
    return _document(
        snapshot,
        components=_components(snapshot),
        incidents=_incidents(each for each in snapshot.incidents if each.is_open),
        scheduled_maintenances=_incidents(each for each in snapshot.maintenances if each.is_open),
        status=_status(snapshot),
    )


def status(snapshot: Snapshot) -> Rendered:
    return _document(snapshot, status=_status(snapshot))


def components(snapshot: Snapshot) -> Rendered:
    return _document(snapshot, components=_components(snapshot))


def incidents(snapshot: Snapshot) -> Rendered:
    return _document(snapshot, incidents=_incidents(snapshot.incidents))


def unresolved(snapshot: Snapshot) -> Rendered:
    return _document(snapshot, incidents=_incidents(each for each in snapshot.incidents if each.is_open))


def maintenances(snapshot: Snapshot) -> Rendered:
    return _document(snapshot, scheduled_maintenances=_incidents(snapshot.maintenances))


def upcoming(snapshot: Snapshot) -> Rendered:
    planned = (each for each in snapshot.maintenances if each.state == SCHEDULED)
    return _document(snapshot, scheduled_maintenances=_incidents(planned))


def active(snapshot: Snapshot) -> Rendered:
    present = (each for each in snapshot.maintenances if each.is_open and each.state != SCHEDULED)
    return _document(snapshot, scheduled_maintenances=_incidents(present))


def _document(snapshot: Snapshot, **parts: object) -> Rendered:
    about = {
        "id": settings.app_name,
        "name": settings.app_name,
        "url": page(),
        "time_zone": "Etc/UTC",
        "updated_at": iso(snapshot.changed_at),
    }
    return as_json({"page": about, **parts}, snapshot.generated_at)


def _status(snapshot: Snapshot) -> JsonObject:
    overview = snapshot.overview
    severities = [each.severity for each in snapshot.incidents if each.is_open]
    if overview.status == INCIDENT:
        indicator = max(severities, key=INDICATORS.index, default=MAJOR)
    else:
        indicator = MINOR if overview.status == DEGRADED else "none"
    return {"indicator": indicator, "description": overview.state}


def _components(snapshot: Snapshot) -> list[JsonObject]:
    critical = {
        key
        for each in snapshot.incidents
        if each.is_open and each.severity == CRITICAL
        for key, effect in each.services.items()
        if effect == INCIDENT
    }
    return [
        {
            "id": service.key,
            "name": service.name,
            "status": "major_outage" if service.key in critical else COMPONENT[service.status],
            "description": service.description,
            "position": number,
            "group": False,
            "group_id": None,
            "page_id": settings.app_name,
            "showcase": True,
            "only_show_if_degraded": False,
            "start_date": service.days[0].date.isoformat(),
            "created_at": f"{service.days[0].date}T00:00:00Z",
            "updated_at": iso(snapshot.changed_at),
        }
        for number, service in enumerate(snapshot.services, 1)
    ]


def _incidents(views: Iterable[IncidentView]) -> list[JsonObject]:
    return [_incident(view) for view in views]


def _incident(view: IncidentView) -> JsonObject:
    watched = next((each.created_at for each in reversed(view.updates) if each.state == MONITORING), None)
    times = {"scheduled_for": iso(view.starts_at), "scheduled_until": iso_or_none(view.until)}
    return {
        "id": view.slug,
        "name": view.title,
        "status": view.state,
        "impact": view.severity,
        "shortlink": url_of(view),
        "page_id": settings.app_name,
        "created_at": iso(view.published_at),
        "started_at": iso(view.starts_at),
        "updated_at": iso(view.updated_at),
        "monitoring_at": iso_or_none(watched),
        "resolved_at": iso_or_none(view.ended_at),
        "incident_updates": [
            {
                "id": str(each.id),
                "incident_id": view.slug,
                "status": each.state,
                "body": each.text,
                "created_at": iso(each.created_at),
                "updated_at": iso(each.created_at),
                "display_at": iso(each.created_at),
            }
            for each in view.updates
        ],
        "components": [
            {"id": key, "name": name, "status": COMPONENT[effect]}
            for (key, effect), name in zip(view.services.items(), view.names, strict=True)
        ],
        **(times if view.is_maintenance else {}),
    }
