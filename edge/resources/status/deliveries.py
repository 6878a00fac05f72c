"""Alerts: sending an incident's once more, and what operators see of those that were sent."""

from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.resources.status.subscriptions import find
from edge.schemas.status import deliveries as schemas
from edge.schemas.status.subscriptions import StatusSubscriptionQuery
from models.platform.authorization import STATUS_OPERATE, STATUS_SUBSCRIPTION_MANAGE, OutOfReach, may
from models.platform.database import transaction
from models.platform.principal import Principal
from models.status import fanouts, quotas, redelivery
from models.status.deliveries import DELIVERED, EVERYBODY, GIVEN_UP, PENDING, SKIPPED, TENANT, StatusDelivery
from models.status.incidents import Incident, IncidentNotFound
from workers.jobs import STATUS_FAN_OUT, enqueue


class IncidentAlerts:
    @endpoint(
        "Resend Status Incident",
        "status",
        action=STATUS_SUBSCRIPTION_MANAGE,
        before=STATUS_OPERATE,
        status=202,
        tenant=True,
    )
    def on_post_resend(
        self, req: Request, resp: falcon.Response, incident_id: str, body: schemas.StatusIncidentResendRequest
    ) -> schemas.StatusIncidentResendResponse:
        """Tell subscribers of an incident's last update once more. It is sent by jobs; `dispatched` counts what they will send.

        Managers reach the subscriptions and Slack channels of their tenant. Operators reach everybody, or with `tenant_id` one
        tenant. To the same people an incident is sent again once a minute at most.
        """
        principal = req.context.principal
        scope, tenant_id = _reach(principal, body.tenant_id)
        is_shown = (Incident.slug == incident_id) & Incident.published_at.is_null(False)
        incident = Incident.get_or_none(is_shown)
        if incident is None:
            raise IncidentNotFound()
        with transaction():
            fanout = fanouts.resend(principal, incident, body.severity, scope, tenant_id, req.context.client)
            enqueue(STATUS_FAN_OUT, fanout_id=str(fanout.id))
        return schemas.StatusIncidentResendResponse(dispatched=fanout.total)


class Deliveries:
    @endpoint("List Status Fan Outs", "status", action=STATUS_OPERATE)
    def on_get_fan_outs(
        self, req: Request, resp: falcon.Response, query: schemas.StatusFanOutsQuery
    ) -> schemas.StatusFanOutListResponse:
        """Whom updates of incidents were told, and how far that is: the newest first. Beyond the contract."""
        page = redelivery.fanouts_page(query.incident_id, query.limit, query.cursor)
        counts = fanouts.counts([item.id for item in page.items])
        items = [
            schemas.StatusFanOutResponse(**item._asdict(), deliveries={**NONE, **counts[item.id]})
            for item in page.items
        ]
        return schemas.StatusFanOutListResponse(items=items, next_cursor=page.next_cursor)

    @endpoint("List Status Deliveries", "status", action=STATUS_OPERATE)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.StatusAllDeliveriesQuery
    ) -> schemas.StatusAlertListResponse:
        """Alerts to subscribers of all tenants and to Slack channels, the newest first. Beyond the contract."""
        wanted = redelivery.Filter(
            query.incident_id, query.fanout_id, query.subscription_id, query.state, query.channel
        )
        page = redelivery.deliveries_page(wanted, query.limit, query.cursor)
        items = [schemas.StatusAlertResponse(**item._asdict()) for item in page.items]
        return schemas.StatusAlertListResponse(items=items, next_cursor=page.next_cursor)

    @endpoint("Redeliver Status Alert", "status", action=STATUS_OPERATE, status=202)
    def on_post_redeliver(
        self, req: Request, resp: falcon.Response, delivery_id: UUID
    ) -> schemas.StatusRedeliveryResponse:
        """Have an alert sent again, whatever became of it. Its id stays the same. Beyond the contract."""
        return _redeliver(req, delivery_id)

    @endpoint(
        "Redeliver Status Subscription Delivery",
        "status",
        action=STATUS_SUBSCRIPTION_MANAGE,
        everywhere=STATUS_OPERATE,
        status=202,
        tenant=True,
    )
    def on_post_redeliver_own(
        self,
        req: Request,
        resp: falcon.Response,
        subscription_id: UUID,
        delivery_id: UUID,
        query: StatusSubscriptionQuery,
    ) -> schemas.StatusRedeliveryResponse:
        """Have an alert to a subscription of the tenant sent again. Its id stays the same. Beyond the contract."""
        row = find(req, subscription_id)
        quotas.charge_redelivery(row)
        return _redeliver(req, delivery_id, row.id)


NONE = dict.fromkeys((PENDING, DELIVERED, GIVEN_UP, SKIPPED), 0)


def _reach(principal: Principal, tenant_id: UUID | None) -> tuple[str, UUID | None]:
    """The scope of a fan-out that this caller asks for. OutOfReach for another tenant's manager."""
    if may(principal, STATUS_OPERATE) and principal.override is None:
        return (EVERYBODY, None) if tenant_id is None else (TENANT, tenant_id)
    if tenant_id not in (None, principal.tenant_id):
        raise OutOfReach()
    return TENANT, principal.tenant_id


def _redeliver(
    req: Request, delivery_id: UUID, subscription_id: UUID | None = None
) -> schemas.StatusRedeliveryResponse:
    with transaction():
        row: StatusDelivery = redelivery.redeliver(
            req.context.principal, delivery_id, req.context.client, subscription_id=subscription_id
        )
        enqueue(STATUS_FAN_OUT, fanout_id=str(row.fanout_id))
    return schemas.StatusRedeliveryResponse(id=row.id, state=row.state, attempts=row.attempts)
