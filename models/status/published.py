"""The incidents and maintenance windows that the public may see."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from peewee import SQL

from models.platform.database import database
from models.status.incidents import Incident, IncidentNotFound
from models.status.services import services
from models.status.views import IncidentView, UpdateView

MOST = 200  # incidents of one snapshot
MOST_UPDATES = 50  # of one incident: the newest, and the first one
UPDATES = """
select incident_id, id, state, text, created_at from (
    select *, row_number() over (partition by incident_id order by id desc) as age,
        row_number() over (partition by incident_id order by id) as place
    from status_update where incident_id = any(%(ids)s::uuid[])) numbered
where age <= %(most)s or place = 1 order by id desc"""
LAST_OF_SERVICES = """
select key, max(starts_at) from status_incident cross join lateral jsonb_object_keys(services) key
where published_at is not null and kind = 'incident' group by key"""


def since(time: datetime) -> list[IncidentView]:
    """Those that are open, or were at this time or later. The open ones first, then the newest; at most MOST."""
    is_open = Incident.ended_at.is_null()
    query = Incident.select().where(Incident.published_at.is_null(False), is_open | (Incident.ended_at >= time))
    newest = query.order_by(SQL("ended_at is null").desc(), Incident.starts_at.desc(), Incident.id.desc())
    return views(list(newest.limit(MOST)))


def by_slug(slug: str) -> IncidentView:
    """One of any age. IncidentNotFound (404), also for a draft."""
    incident = Incident.get_or_none((Incident.slug == slug) & Incident.published_at.is_null(False))
    if incident is None:
        raise IncidentNotFound()
    return views([incident])[0]


def views(incidents: Sequence[Incident]) -> list[IncidentView]:
    """The same incidents as they are shown, with their updates. Drafts too, if there are any among them."""
    updates = updates_of(incident.id for incident in incidents)
    names = {key: service.name for key, service in services().items()}
    return [
        IncidentView(
            id=each.id,
            slug=each.slug,
            kind=each.kind,
            title=each.title,
            impact=each.impact,
            severity=each.severity,
            state=each.state,
            services=dict(each.services),
            names=tuple(names.get(key, key) for key in each.services),
            published_at=each.published_at or each.created_at,
            starts_at=each.starts_at,
            until=each.until,
            ended_at=each.ended_at,
            updated_at=each.updated_at,
            version=each.version,
            updates=updates[each.id],
        )
        for each in incidents
    ]


def updates_of(incident_ids: Iterable[UUID]) -> dict[UUID, tuple[UpdateView, ...]]:
    """The updates of each incident, the newest first."""
    found: dict[UUID, list[UpdateView]] = defaultdict(list)
    values = {"ids": list(incident_ids), "most": MOST_UPDATES}
    for incident_id, *columns in database.execute_sql(UPDATES, values).fetchall():
        found[incident_id].append(UpdateView(*columns))
    return defaultdict(tuple, {key: tuple(value) for key, value in found.items()})


def suspected() -> dict[str, str]:
    """How services are by the drafts of their probes: it shows, though nobody has written about it yet."""
    is_open = Incident.published_at.is_null() & Incident.ended_at.is_null() & Incident.probe.is_null(False)
    return {key: effect for each in Incident.select().where(is_open) for key, effect in each.services.items()}


def last_of_services() -> dict[str, datetime]:
    """When the last incident of each service began, by its key."""
    return dict(database.execute_sql(LAST_OF_SERVICES).fetchall())


def between(start: datetime, end: datetime) -> list[IncidentView]:
    """Those that began in this time, the newest first; at most MOST."""
    is_in = (Incident.starts_at >= start) & (Incident.starts_at < end) & Incident.published_at.is_null(False)
    return views(
        list(Incident.select().where(is_in).order_by(Incident.starts_at.desc(), Incident.id.desc()).limit(MOST))
    )


def is_any_before(time: datetime) -> bool:
    is_older = (Incident.starts_at < time) & Incident.published_at.is_null(False)
    return Incident.select().where(is_older).exists()
