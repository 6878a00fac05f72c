"""The snapshot of everything that the public may see. Pages, feeds and JSON are made from it, not from the database."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from models.status.incidents import MAINTENANCE
from models.status.services import UNKNOWN


@dataclass(frozen=True, slots=True)
class Overview:
    """`status`: the worst one of all services. `state`: the same in a few words. `updated_at`: when this last changed."""

    status: str
    state: str
    description: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Day:
    """A day (UTC) of a service. `state`: `operational`, `degraded`, `incident`, `maintenance` or `unknown`.

    `uptime`: percent; None if nothing is known. `incidents`: how many affected the service.
    """

    date: date
    state: str = UNKNOWN
    uptime: float | None = None
    incidents: int = 0


@dataclass(frozen=True, slots=True)
class ServiceView:
    """`status`: as a day's state. `uptime`: percent of all its `days`, the oldest first; None if nothing is known.

    `checked_at`: when a probe last said how it is; None for a service without probes, and one that was never probed.
    """

    key: str
    name: str
    description: str
    owner: str
    group: str | None
    status: str
    last_incident_at: datetime | None
    checked_at: datetime | None
    uptime: float | None
    days: tuple[Day, ...]


@dataclass(frozen=True, slots=True)
class UpdateView:
    id: UUID
    state: str
    text: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident, or maintenance, that is published. `services`: how each affected one is, by its key. `names`: of those.

    `updates`: the newest first, and the first one always.
    """

    id: UUID
    slug: str
    kind: str
    title: str
    impact: str
    severity: str
    state: str
    services: dict[str, str]
    names: tuple[str, ...]
    published_at: datetime
    starts_at: datetime
    until: datetime | None
    ended_at: datetime | None
    updated_at: datetime
    version: int
    updates: tuple[UpdateView, ...]

    @property
    def is_open(self) -> bool:
        return self.ended_at is None

    @property
    def is_maintenance(self) -> bool:
        return self.kind == MAINTENANCE

    @property
    def service(self) -> str:
        """The names of the affected services in one text."""
        return ", ".join(self.names)


@dataclass(frozen=True, slots=True)
class Metric:
    """A measured value in words. `trend_tone`: `positive`, `neutral` or `negative`."""

    label: str
    value: str
    helper_text: str
    trend_value: str
    trend_tone: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How everything was at `generated_at`. `changed_at`: since when services and incidents are as they are here.

    `incidents`: the open ones first, then those of the last 90 days, the newest first. `maintenances`: likewise.
    """

    generated_at: datetime
    changed_at: datetime
    overview: Overview
    services: tuple[ServiceView, ...]
    incidents: tuple[IncidentView, ...]
    maintenances: tuple[IncidentView, ...]
    uptime_metrics: tuple[Metric, ...]

    def story(self) -> Any:
        """What `changed_at` is about: all but the figures, which are a little different each time."""
        statuses = [(service.key, service.name, service.status) for service in self.services]
        return self.overview.state, self.overview.description, statuses, self.incidents, self.maintenances
