"""Schemas of the status that everybody may read."""

from datetime import date

from pydantic import BaseModel, Field

from edge.schemas.common import Timestamp


class StatusOverviewSchema(BaseModel):
    """`state`: a headline for the worst status of all services."""

    state: str
    description: str
    updated_at: Timestamp
    status: str | None = Field(None, description="The worst status of all services. Beyond the contract.")


class ServiceDaySchema(BaseModel):
    date: date
    state: str = Field(description="operational, degraded, incident, maintenance or unknown.")
    uptime: float | None = Field(description="Percent, without maintenance; null if nothing is known of the day.")
    incidents: int = Field(description="How many incidents affected the service.")


class ServiceStatusSchema(BaseModel):
    name: str
    status: str = Field(
        description="operational, degraded, incident or maintenance; unknown if the probes of the service have not run lately."
    )
    description: str
    owner: str
    last_incident_at: Timestamp | None = None
    key: str | None = Field(None, description="What subscriptions call the service. Beyond the contract.")
    group: str | None = Field(None, description="A heading that several services share. Beyond the contract.")
    checked_at: Timestamp | None = Field(None, description="When a probe was last answered. Beyond the contract.")
    uptime: float | None = Field(None, description="Percent of 90 days, without maintenance. Beyond the contract.")
    days: list[ServiceDaySchema] = Field([], description="The last 90 days (UTC), oldest first. Beyond the contract.")


class StatusUpdateSchema(BaseModel):
    id: str
    state: str
    text: str
    created_at: Timestamp


class IncidentSchema(BaseModel):
    """An incident or maintenance. `incident_id` never changes. `service`: the names of those that are affected."""

    incident_id: str
    service: str
    occurred_at: Timestamp
    impact: str
    state: str = Field(
        description="investigating, identified, monitoring or resolved; of maintenance scheduled, in_progress, verifying "
        "or completed."
    )
    title: str | None = Field(None, description="Beyond the contract.")
    kind: str | None = Field(None, description="incident or maintenance. Beyond the contract.")
    severity: str | None = Field(None, description="minor, major, critical or maintenance. Beyond the contract.")
    services: dict[str, str] = Field({}, description="How each affected service is, by its key. Beyond the contract.")
    until: Timestamp | None = Field(None, description="When maintenance is to end. Beyond the contract.")
    ended_at: Timestamp | None = Field(None, description="Null while it is open. Beyond the contract.")
    url: str | None = Field(None, description="Its page, for people. Beyond the contract.")
    updated_at: Timestamp | None = Field(None, description="Beyond the contract.")
    updates: list[StatusUpdateSchema] = Field([], description="The newest first. Beyond the contract.")


class UptimeMetricSchema(BaseModel):
    """A measured figure in words. `trend_tone`: positive, neutral or negative."""

    label: str
    value: str
    helper_text: str
    trend_value: str
    trend_tone: str


class PlatformStatusResponse(BaseModel):
    """`generated_at`: when everything was so; it is older than usual while the database cannot be read."""

    generated_at: Timestamp
    overview: StatusOverviewSchema
    services: list[ServiceStatusSchema]
    incidents: list[IncidentSchema] = Field(
        description="Open ones first, then those of 90 days, newest first; 200 at most."
    )
    uptime_metrics: list[UptimeMetricSchema]
    maintenances: list[IncidentSchema] = Field(
        [], description="Planned and present maintenance, and that of 90 days. Beyond the contract."
    )
