"""What clients read of the status: each document is rendered once per snapshot, and kept as bytes."""

from collections.abc import Callable
from datetime import datetime

import falcon
from pydantic_core import to_json

from edge.rendered import Rendered
from edge.request import Request
from edge.schemas.status import status as schemas
from models.platform.settings import settings
from models.status.snapshot import IncidentView, ServiceView, Snapshot, current
from models.status.tokens import page

Render = Callable[[Snapshot], Rendered]


class Documents:
    """The documents of the present snapshot."""

    def __init__(self) -> None:
        self._of: datetime | None = None
        self._made: dict[Render, Rendered] = {}

    def get(self, render: Render) -> Rendered:
        """What `render`, a function of a module, makes of the snapshot. StatusUnavailable (503) if there is none."""
        snapshot = current()
        if self._of != snapshot.generated_at:
            self._of, self._made = snapshot.generated_at, {}
        made = self._made  # another greenlet may begin a new one
        if render not in made:
            made[render] = render(snapshot)
        return made[render]


documents = Documents()


def send(render: Render, req: Request, resp: falcon.Response) -> None:
    """Answer with a document. Shared caches may keep it as long as we do, and for a day while we do not answer."""
    documents.get(render).send(req, resp, cache=caching())


def caching() -> str:
    return f"public, max-age={settings.status_cache_seconds}, stale-if-error=86400"


def as_json(value: object, modified: datetime | None) -> Rendered:
    return Rendered(to_json(value), falcon.MEDIA_JSON, modified)


def platform_status(snapshot: Snapshot) -> Rendered:
    overview = snapshot.overview
    answer = schemas.PlatformStatusResponse(
        generated_at=snapshot.generated_at,
        overview=schemas.StatusOverviewSchema(
            state=overview.state,
            description=overview.description,
            updated_at=overview.updated_at,
            status=overview.status,
        ),
        services=[_service(service) for service in snapshot.services],
        incidents=[incident(each) for each in snapshot.incidents],
        maintenances=[incident(each) for each in snapshot.maintenances],
        uptime_metrics=[
            schemas.UptimeMetricSchema(
                label=metric.label,
                value=metric.value,
                helper_text=metric.helper_text,
                trend_value=metric.trend_value,
                trend_tone=metric.trend_tone,
            )
            for metric in snapshot.uptime_metrics
        ],
    )
    return as_json(answer, snapshot.generated_at)


def _service(service: ServiceView) -> schemas.ServiceStatusSchema:
    return schemas.ServiceStatusSchema(
        key=service.key,
        name=service.name,
        status=service.status,
        description=service.description,
        owner=service.owner,
        group=service.group,
        last_incident_at=service.last_incident_at,
        checked_at=service.checked_at,
        uptime=None if service.uptime is None else round(service.uptime, 4),
        days=[
            schemas.ServiceDaySchema(
                date=day.date,
                state=day.state,
                uptime=None if day.uptime is None else round(day.uptime, 4),
                incidents=day.incidents,
            )
            for day in service.days
        ],
    )


def incident(view: IncidentView) -> schemas.IncidentSchema:
    return schemas.IncidentSchema(
        incident_id=view.slug,
        service=view.service,
        occurred_at=view.starts_at,
        impact=view.impact,
        state=view.state,
        title=view.title,
        kind=view.kind,
        severity=view.severity,
        services=view.services,
        until=view.until,
        ended_at=view.ended_at,
        url=url_of(view),
        updated_at=view.updated_at,
        updates=[
            schemas.StatusUpdateSchema(id=str(each.id), state=each.state, text=each.text, created_at=each.created_at)
            for each in view.updates
        ],
    )


def url_of(view: IncidentView) -> str:
    """The page of an incident."""
    return f"{page()}/incidents/{view.slug}"
