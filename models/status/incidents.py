"""Incidents and maintenance windows, with the updates that tell their story. They belong to the whole platform, not to a tenant."""

from peewee import BooleanField, CharField, IntegerField, TextField, UUIDField

from models.platform.clock import now
from models.platform.errors import NotFound
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


class Update(Model):
    """`creator`: who wrote it, such as `user:<id>` or `probe`. `notify`: whether subscribers are told of it."""

    incident_id = UUIDField()
    state = CharField()
    text = TextField()
    creator = CharField()
    notify = BooleanField(default=True)

    class Meta:
        table_name = "status_update"
