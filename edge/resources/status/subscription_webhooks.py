"""What managers do about one subscription: having it asked again, its secret, a test, and what was sent to it."""

from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.resources.status.subscriptions import enqueue_confirmation, find, show
from edge.schemas.status import subscriptions as schemas
from models.platform.authorization import STATUS_OPERATE, STATUS_SUBSCRIPTION_MANAGE
from models.platform.database import transaction
from models.status import listing, quotas, signing, subscribing
from models.status.subscriptions import EMAIL
from workers.jobs import STATUS_CHALLENGE, STATUS_TEST, enqueue


class SubscriptionWebhooks:
    @endpoint(
        "Resend Status Subscription Confirmation",
        "status",
        action=STATUS_SUBSCRIPTION_MANAGE,
        everywhere=STATUS_OPERATE,
        status=202,
        tenant=True,
    )
    def on_post_resend(
        self, req: Request, resp: falcon.Response, subscription_id: UUID, query: schemas.StatusSubscriptionQuery
    ) -> schemas.StatusSubscriptionResponse:
        """Have the mail or the challenge sent again that confirms a pending subscription, or enables a disabled webhook.

        Beyond the contract.
        """
        row = find(req, subscription_id)
        subscribing.require_unconfirmed(row)
        quotas.charge_resend(row)
        with transaction():
            if row.channel == EMAIL:
                enqueue_confirmation(row, row)
            else:
                enqueue(STATUS_CHALLENGE, tenant_id=row.tenant_id, subscription_id=str(row.id))
        return show(row)

    @endpoint(
        "Rotate Status Subscription Secret",
        "status",
        action=STATUS_SUBSCRIPTION_MANAGE,
        everywhere=STATUS_OPERATE,
        status=201,
        tenant=True,
    )
    def on_post_secret(
        self, req: Request, resp: falcon.Response, subscription_id: UUID, query: schemas.StatusSubscriptionQuery
    ) -> schemas.StatusSecretResponse:
        """A new secret that signs what is sent to this webhook, shown this once. For a day the former one signs too.

        Beyond the contract.
        """
        with transaction():
            secret, until = signing.rotate(req.context.principal, find(req, subscription_id), req.context.client)
        return schemas.StatusSecretResponse(webhook_secret=secret, former_signs_until=until)

    @endpoint(
        "Test Status Subscription",
        "status",
        action=STATUS_SUBSCRIPTION_MANAGE,
        everywhere=STATUS_OPERATE,
        status=202,
        tenant=True,
    )
    def on_post_test(
        self, req: Request, resp: falcon.Response, subscription_id: UUID, query: schemas.StatusSubscriptionQuery
    ) -> schemas.StatusSubscriptionResponse:
        """Send a message of the type `subscription.test` to an active webhook, once. `checked_at` and `last_error` tell how it ended.

        Beyond the contract.
        """
        row = find(req, subscription_id)
        signing.require_active_webhook(row)
        quotas.charge_test(row)
        with transaction():
            enqueue(STATUS_TEST, tenant_id=row.tenant_id, subscription_id=str(row.id))
        return show(row)

    @endpoint(
        "List Status Subscription Deliveries",
        "status",
        action=STATUS_SUBSCRIPTION_MANAGE,
        everywhere=STATUS_OPERATE,
        tenant=True,
    )
    def on_get_deliveries(
        self, req: Request, resp: falcon.Response, subscription_id: UUID, query: schemas.StatusDeliveriesQuery
    ) -> schemas.StatusDeliveriesResponse:
        """What was sent to it, or will be: the newest first. Beyond the contract."""
        page = listing.sent(find(req, subscription_id).id, query.limit, query.cursor)
        items = [schemas.StatusDeliveryResponse(**sent._asdict()) for sent in page.items]
        return schemas.StatusDeliveriesResponse(items=items, next_cursor=page.next_cursor)
