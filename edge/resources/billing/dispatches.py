"""Operators: what became of Stripe's events, and their replay."""

from typing import Any

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.billing import dispatches as schemas
from models.billing import dispatches
from models.billing.dispatches import Dispatch, Filter
from models.platform.authorization import BILLING_OPERATE
from models.platform.database import transaction
from workers.jobs import BILLING_EVENTS, enqueue


class Dispatches:
    @endpoint("List Stripe Events", "billing", action=BILLING_OPERATE)
    def on_get(self, req: Request, resp: falcon.Response, query: schemas.DispatchQuery) -> schemas.DispatchListResponse:
        """Events of all tenants with their attempts and errors, those received last first. Beyond the contract."""
        wanted = Filter(query.state, query.event_type, query.tenant_id)
        page = dispatches.page(wanted, query.limit, query.cursor)
        return schemas.DispatchListResponse(items=[show(item) for item in page.items], next_cursor=page.next_cursor)

    @endpoint("Get Stripe Event", "billing", action=BILLING_OPERATE)
    def on_get_one(self, req: Request, resp: falcon.Response, event_id: str) -> schemas.DispatchDetailResponse:
        """One event with its payload, which the audit log records. `event_id`: ours, or Stripe's. Beyond the contract."""
        with transaction():
            row = dispatches.read(event_id, req.context.principal, req.context.client)
        return schemas.DispatchDetailResponse(**_fields(Dispatch.of(row)), payload=row.payload, event=row.event)

    @endpoint("Replay Stripe Event", "billing", action=BILLING_OPERATE, status=202)
    def on_post_replay_one(self, req: Request, resp: falcon.Response, event_id: str) -> schemas.DispatchResponse:
        """Has an event processed again, whatever became of it. It overwrites nothing newer. Beyond the contract."""
        with transaction():
            row = dispatches.replay(event_id, req.context.principal, req.context.client)
            enqueue(BILLING_EVENTS)
        return show(Dispatch.of(row))

    @endpoint("Replay Stripe Events", "billing", action=BILLING_OPERATE, status=202)
    def on_post_replay(
        self, req: Request, resp: falcon.Response, body: schemas.ReplayRequest
    ) -> schemas.ReplayResponse:
        """Has the parked events, or those of another state, processed again. Beyond the contract."""
        wanted = Filter(body.state, body.event_type, body.tenant_id)
        with transaction():
            count = dispatches.replay_all(wanted, body.limit, req.context.principal, req.context.client)
            enqueue(BILLING_EVENTS)
        return schemas.ReplayResponse(replayed=count)


def show(item: Dispatch) -> schemas.DispatchResponse:
    return schemas.DispatchResponse(**_fields(item))


def _fields(item: Dispatch) -> dict[str, Any]:
    fields = item._asdict()
    return fields | {
        "id": str(item.id),
        "stripe_event_id": fields.pop("external_id"),
        "event_type": fields.pop("type"),
        "tenant_id": str(item.tenant_id) if item.tenant_id else None,
        "state": item.shown_state,
    }
