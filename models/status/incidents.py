"""Incidents and maintenance windows, with the updates that tell their story. They belong to the whole platform, not to a tenant."""

from peewee import BooleanField, CharField, IntegerField, TextField, UUIDField

from models.platform.clock import now
from models.platform.errors import NotFound
from models.platform.keyset import KeysetPage
from models.platform.model import BinaryJSONField, DateTimeTZField, Model

INCIDENT, MAINTENANCE = "incident", "maintenance"  # kinds
INVESTIGATING, IDENTIFIED, MONITORING, RESOLVED = "investigating", "identified", "monitoring", "resolved"
SCHEDULED, IN_PROGRESS, VERIFYING, COMPLETED = "scheduled", "in_progress", "verifying", "completed"
STATES = {
    INCIDENT: (INVESTIGATING, IDENTIFIED, MONITORING, RESOLVED),
    MAINTENANCE: (SCHEDULED, IN_PROGRESS, VERIFYING, COMPLETED),
}
ENDS = (RESOLVED, COMPLETED)
MINOR, MAJOR, CRITICAL = "minor", "major", "critical"  # severities; the one of maintenance is MAINTENANCE
SEVERITIES = {INCIDENT: (MINOR, MAJOR, CRITICAL), MAINTENANCE: (MAINTENANCE,)}


class IncidentNotFound(NotFound):
    code, message = "incident_not_found", "Incident not found."


class Incident(Model):
    """`services`: how each affected one is (`degraded`, `incident` or `maintenance`), by its key.

    `probe`: the service whose probe has opened it. `until`: when maintenance is to end.
    """

    updated_at = DateTimeTZField(default=now)
    slug = CharField(unique=True)
    kind = CharField(default=INCIDENT)
    title = CharField()
    impact = TextField()
    severity = CharField(default=MAJOR)
    state = CharField(default=INVESTIGATING)
    services: dict[str, str] = BinaryJSONField(default=dict)
    probe = CharField(null=True)
    published_at = DateTimeTZField(null=True)
    starts_at = DateTimeTZField(default=now)
    until = DateTimeTZField(null=True)
    ended_at = DateTimeTZField(null=True)
    version = IntegerField(default=1)

    class Meta:
        table_name = "status_incident"

    @classmethod
    def open_of_probe(cls, key: str) -> "Incident | None":
        """The open incident, or draft, that the probe of a service has opened."""
        return cls.get_or_none((cls.probe == key) & cls.ended_at.is_null())

    @classmethod
    def by_slug(cls, slug: str) -> "Incident":
        """IncidentNotFound (404) if there is none."""
        found = cls.get_or_none(cls.slug == slug)
        if found is None:
            raise IncidentNotFound()
        return found

    @classmethod
    def page(
        cls,
        *,
        kind: str | None = None,
        is_draft: bool | None = None,
        is_open: bool | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> KeysetPage["Incident"]:
        """The newest first, filtered by whatever is not None. InvalidCursor (400)."""
        query = cls.select()
        if kind is not None:
            query = query.where(cls.kind == kind)
        for column, is_null in ((cls.published_at, is_draft), (cls.ended_at, is_open)):
            query = query if is_null is None else query.where(column.is_null(is_null))
        names = [field.name for field in cls._meta.sorted_fields]

        def row(*values: object) -> Incident:
            return cls(**dict(zip(names, values, strict=True)))

        return KeysetPage.of(query, row, [cls.created_at, cls.id], limit, cursor)


class Update(Model):
    """`creator`: who wrote it, such as `user:<id>` or `probe`. `notify`: whether subscribers are told of it."""

    incident_id = UUIDField()
    state = CharField()
    text = TextField()
    creator = CharField()
    notify = BooleanField(default=True)

    class Meta:
        table_name = "status_update"
