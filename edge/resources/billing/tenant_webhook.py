"""The billing webhook of a tenant: its secret, a test, and what was sent. Beyond the contract."""

from typing import cast
from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.tenants import (
    WebhookDeliveriesQuery,
    WebhookDeliveriesResponse,
    WebhookDeliveryResponse,
    WebhookSecretResponse,
)
from models.billing import webhook_deliveries
from models.billing.webhook_deliveries import ListedDelivery
from models.platform import limits
from models.platform.authorization import TENANT_SETTINGS_CHANGE, TENANT_SETTINGS_READ
from models.platform.database import transaction
from models.tenants import webhook_secrets
from workers.jobs import BILLING_WEBHOOK, enqueue

TESTS_PER_HOUR = 20  # per tenant
TEST = "test"  # the kind of a delivery that is no notice


class BillingWebhook:
    @endpoint("Rotate Billing Webhook Secret", "tenants", action=TENANT_SETTINGS_CHANGE, status=201, tenant=True)
    def on_post_secret(self, req: Request, resp: falcon.Response) -> WebhookSecretResponse:
        """A new secret that signs what is sent to the billing webhook, shown this once. For a day the former one signs too.

        Beyond the contract.
        """
        with transaction():
            secret, until = webhook_secrets.rotate(req.context.principal, _tenant(req), req.context.client)
        return WebhookSecretResponse(secret=secret, former_signs_until=until)

    @endpoint("Test Billing Webhook", "tenants", action=TENANT_SETTINGS_CHANGE, status=202, tenant=True)
    def on_post_test(self, req: Request, resp: falcon.Response) -> WebhookDeliveryResponse:
        """Send a message of the type `billing.test` to the billing webhook, once. How it ended is in the list of deliveries.

        Beyond the contract.
        """
        tenant_id = _tenant(req)
        limits.hit("billing_webhook_test", TESTS_PER_HOUR, limits.HOUR, tenant_id)
        with transaction():
            delivery = webhook_deliveries.add_test(tenant_id)
            enqueue(BILLING_WEBHOOK, tenant_id=tenant_id, delivery_id=str(delivery.id))
        return WebhookDeliveryResponse(
            id=str(delivery.id), kind=TEST, state=delivery.state, attempts=0, created_at=delivery.created_at
        )

    @endpoint("List Billing Webhook Deliveries", "tenants", action=TENANT_SETTINGS_READ, tenant=True)
    def on_get_deliveries(
        self, req: Request, resp: falcon.Response, query: WebhookDeliveriesQuery
    ) -> WebhookDeliveriesResponse:
        """What was sent to the billing webhook, the newest first: `pending`, `delivered`, or `given_up` after a day.

        Beyond the contract.
        """
        page = webhook_deliveries.page(req.context.principal, query.limit, query.cursor)
        return WebhookDeliveriesResponse(items=[_show(one) for one in page.items], next_cursor=page.next_cursor)


def _tenant(req: Request) -> UUID:
    return cast(UUID, req.context.principal.tenant_id)  # the actions need one


def _show(delivery: ListedDelivery) -> WebhookDeliveryResponse:
    return WebhookDeliveryResponse(**{**delivery._asdict(), "id": str(delivery.id), "kind": delivery.kind or TEST})
