"""The events of a tenant's billing: their history, and the stream of what happens now."""

from typing import cast
from uuid import UUID

import falcon

from edge import billing_batches, relay, topics
from edge.endpoint import endpoint
from edge.hub import hub
from edge.request import Request
from edge.resources.billing.tenant import tenant_of
from edge.resources.runs import cursor
from edge.schemas.billing.events import (
    BillingEventHistoryResponse,
    BillingEventResponse,
    BillingEventsQuery,
    BillingStreamQuery,
)
from edge.watch import watch
from models.billing import event_history
from models.platform import limits
from models.platform.authorization import BILLING_READ
from models.platform.errors import Unavailable
from models.platform.settings import settings


class StreamDisabled(Unavailable):
    code, message = "billing_stream_disabled", "Billing stream is disabled."


class BillingEvents:
    @endpoint("List Billing Events", "billing", action=BILLING_READ, tenant=True)
    def on_get(
        self, req: Request, resp: falcon.Response, tenant_id: str, query: BillingEventsQuery
    ) -> BillingEventHistoryResponse:
        """What Stripe and we have said about the tenant's billing, the newest first.

        A cursor does not keep the filters: repeat them.
        """
        tenant_of(req, tenant_id)
        page = event_history.page(
            req.context.principal,
            query.limit,
            query.cursor,
            event_type=query.event_type,
            state=query.processing_status,
        )
        items = [BillingEventResponse.model_validate(event) for event in page.items]
        return BillingEventHistoryResponse(items=items, next_cursor=page.next_cursor)


class BillingStream:
    @endpoint(
        "Billing Event Stream",
        "billing",
        action=BILLING_READ,
        tenant=True,
        headers=("Last-Event-ID",),
        streams=BillingEventResponse,
    )
    def on_get(self, req: Request, resp: falcon.Response, query: BillingStreamQuery) -> None:
        """The tenant's events as they happen. The `id` of each is its `position`; positions have no gap.

        A client that names the last one that it has gets all that came later. The stream ends with the session, the right
        to read it, or the access token: resume it with a fresh one.
        """
        if not settings.enable_billing_stream:
            raise StreamDisabled()
        principal = req.context.principal
        tenant_id = cast(UUID, principal.tenant_id)
        limits.hit("billing_stream_per_minute", settings.billing_stream_rate_limit_per_minute, 60, tenant_id)
        limit = settings.billing_stream_concurrent_limit
        with relay.one_slot("billing_stream_concurrency", limit, tenant_id) as slot:
            first, newest = billing_batches.beginning(tenant_id, cursor(req, query))
            permit = watch.billing_permit(
                principal, topics.of_billing(tenant_id), hub, expires_at=float(req.context.claims["exp"])
            )
            batches = billing_batches.batches(tenant_id, first, newest, hub)
            relay.stream(resp, relay.Body(batches, relay.chat_frame, slot, permit))
