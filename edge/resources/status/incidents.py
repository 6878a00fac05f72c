"""Incidents and maintenance, one at a time: for everybody to read, and for operators to write."""

from typing import Any

import falcon

from edge import status_documents
from edge.endpoint import endpoint
from edge.rendered import is_unchanged
from edge.request import Request
from edge.schemas.status import incidents as schemas
from edge.versions import versions
from models.platform.authorization import PUBLIC, STATUS_OPERATE, may
from models.platform.database import transaction
from models.status import incident_changes as changes
from models.status import published
from models.status.incidents import Incident, Update
from models.status.snapshot import IncidentView, current
from workers.jobs import STATUS_FAN_OUT, enqueue

TAGGED: dict[str, Any] = {"action": STATUS_OPERATE, "headers": ("If-Match",), "answer_headers": ("ETag",)}


class Incidents:
    @endpoint("List Status Incidents", "status", action=STATUS_OPERATE)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.IncidentsQuery
    ) -> schemas.IncidentListResponse:
        """Incidents and maintenance of any age, drafts too, the newest first. Beyond the contract."""
        page = Incident.page(
            kind=query.kind, is_draft=query.draft, is_open=query.open, limit=query.limit, cursor=query.cursor
        )
        shown = zip(page.items, published.views(page.items), strict=True)
        return schemas.IncidentListResponse(
            items=[_detail(view, incident) for incident, view in shown], next_cursor=page.next_cursor
        )

    @endpoint("Create Status Incident", "status", action=STATUS_OPERATE, status=201, answer_headers=("ETag",))
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.IncidentCreateRequest
    ) -> schemas.IncidentDetail:
        """Open an incident, or plan maintenance, which starts and ends by itself. Beyond the contract."""
        values = body.model_dump(exclude={"draft"})
        with transaction():
            incident, update = changes.open_incident(req.context.principal, publish=not body.draft, **values)
            _tell(update)
        return _answer(resp, incident)

    @endpoint("Get Status Incident", "status", action=PUBLIC, optional=True, answer_headers=("ETag",))
    def on_get_one(self, req: Request, resp: falcon.Response, incident_id: str) -> schemas.IncidentDetail | None:
        """An incident with all its updates. Operators also see drafts. Beyond the contract."""
        caller = req.context.caller
        if caller is not None and may(caller, STATUS_OPERATE):
            return _answer(resp, Incident.by_slug(incident_id))
        view = _shown(incident_id)
        resp.set_header("Cache-Control", status_documents.caching())
        resp.append_header("Vary", "Authorization")
        return None if is_unchanged(req, resp, str(view.version)) else _detail(view, None)

    @endpoint("Change Status Incident", "status", **TAGGED)
    def on_patch_one(
        self, req: Request, resp: falcon.Response, incident_id: str, body: schemas.IncidentChangeRequest
    ) -> schemas.IncidentDetail:
        """Correct what is said of it. Nobody is told. Beyond the contract."""
        with transaction():
            found = Incident.by_slug(incident_id)
            incident = changes.change(req.context.principal, found.id, versions=versions(req), **body.model_dump())
        return _answer(resp, incident)

    @endpoint("Discard Status Incident", "status", action=STATUS_OPERATE, status=204, headers=("If-Match",))
    def on_delete_one(self, req: Request, resp: falcon.Response, incident_id: str) -> None:
        """Delete a draft. What was published stays. Beyond the contract."""
        with transaction():
            changes.discard(req.context.principal, Incident.by_slug(incident_id).id, versions=versions(req))

    @endpoint("Update Status Incident", "status", status=201, **TAGGED)
    def on_post_updates(
        self, req: Request, resp: falcon.Response, incident_id: str, body: schemas.IncidentUpdateRequest
    ) -> schemas.IncidentDetail:
        """Tell how it goes on; `resolved` or `completed` ends it for good. Beyond the contract."""
        with transaction():
            found = Incident.by_slug(incident_id)
            update = changes.add_update(req.context.principal, found.id, versions=versions(req), **body.model_dump())
            _tell(update)
        return _answer(resp, Incident.by_slug(incident_id))

    @endpoint("Publish Status Incident", "status", **TAGGED)
    def on_post_publish(
        self, req: Request, resp: falcon.Response, incident_id: str, body: schemas.IncidentPublishRequest
    ) -> schemas.IncidentDetail:
        """Show a draft to everybody. Beyond the contract."""
        with transaction():
            found = Incident.by_slug(incident_id)
            update = changes.publish(req.context.principal, found.id, notify=body.notify, versions=versions(req))
            _tell(update)
        return _answer(resp, Incident.by_slug(incident_id))


def _tell(update: Update) -> None:
    if update.notify:
        enqueue(STATUS_FAN_OUT, update_id=str(update.id))


def _shown(slug: str) -> IncidentView:
    """From memory, if it is among those of the last 90 days."""
    snapshot = current()
    both = (*snapshot.incidents, *snapshot.maintenances)
    return next((each for each in both if each.slug == slug), None) or published.by_slug(slug)


def _answer(resp: falcon.Response, incident: Incident) -> schemas.IncidentDetail:
    resp.set_header("ETag", f'"{incident.version}"')
    return _detail(published.views([incident])[0], incident)


def _detail(view: IncidentView, incident: Incident | None) -> schemas.IncidentDetail:
    """`incident`: the row, for operators."""
    return schemas.IncidentDetail(
        **status_documents.incident(view).model_dump(),
        published_at=view.published_at if incident is None else incident.published_at,
        probe=incident.probe if incident else None,
        version=view.version,
    )
