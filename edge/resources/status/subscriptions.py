"""Subscriptions to the status: asking for one, confirming it, and what managers and operators do about them."""

from typing import TYPE_CHECKING
from uuid import UUID

import falcon
from pydantic import validate_email
from pydantic_core import PydanticCustomError

from edge.auth import admit, wants_all
from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.status import subscriptions as schemas
from models.platform.authorization import PUBLIC, STATUS_OPERATE, STATUS_SUBSCRIPTION_MANAGE, may
from models.platform.database import transaction
from models.platform.errors import Forbidden
from models.platform.principal import Principal
from models.status import ending, listing, quotas, services, subscribing, targets
from models.status.subscribing import Wish
from models.status.subscriptions import EMAIL, MAJOR, WEBHOOK, StatusSubscription, SubscriptionNotFound
from workers.jobs import STATUS_CHALLENGE, STATUS_CONFIRM, enqueue

if TYPE_CHECKING:
    from peewee import ModelSelect


class AnotherTenant(Forbidden):
    code, message = "tenant_mismatch", "Tenant-scoped tokens cannot override tenant_id without all=true."


class Subscriptions:
    @endpoint("Create Status Subscription", "status", action=PUBLIC, optional=True, status=201)
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.StatusSubscriptionCreateRequest
    ) -> schemas.StatusSubscriptionResponse:
        """Subscribe an address or a webhook to the status. It gets nothing until it is confirmed.

        `email`: anybody may ask for it; a mail with a link goes to the address. Unless the caller manages the tenant's
        subscriptions, the answer does not tell whether the address is subscribed already. `webhook`: needs the scope
        `status:manage`. A challenge is posted to it, which has to be sent back within ten minutes. `webhook_secret` verifies the
        signatures of all messages, that of the challenge too; it is shown this once.
        """
        if body.channel == WEBHOOK:
            admit(req, STATUS_SUBSCRIPTION_MANAGE)
            return _add_webhook(req, wish_of(body))
        return ask_by_mail(req, wish_of(body))

    @endpoint(
        "List Status Subscriptions",
        "status",
        action=STATUS_SUBSCRIPTION_MANAGE,
        everywhere=STATUS_OPERATE,
        tenant=True,
    )
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.StatusSubscriptionsQuery
    ) -> schemas.StatusSubscriptionListResponse:
        """The newest first. Those of the tenant; for operators with `all=true`, of every tenant and of the public."""
        rows = reachable(req)
        if query.tenant_id is not None:
            if not wants_all(req) and query.tenant_id != req.context.principal.tenant_id:
                raise AnotherTenant()
            rows = rows.where(StatusSubscription.tenant_id == query.tenant_id)
        for column, value in ((StatusSubscription.channel, query.channel), (StatusSubscription.status, query.status)):
            rows = rows.where(column == value) if value else rows
        if query.public:
            rows = rows.where(StatusSubscription.tenant_id.is_null())
        page = listing.page(rows, query.limit, query.cursor)
        return schemas.StatusSubscriptionListResponse(items=list(map(show, page.items)), next_cursor=page.next_cursor)

    @endpoint("Verify Status Subscription", "status", action=PUBLIC)
    def on_post_verify(
        self, req: Request, resp: falcon.Response, body: schemas.StatusSubscriptionVerifyRequest
    ) -> schemas.StatusSubscriptionResponse:
        """Confirm a subscription with the token of the mail. Repeated calls are fine.

        An unknown token is a 404. One that has expired is a 410: subscribe again. So is one of a subscription that was revoked.
        """
        with transaction():
            row = subscribing.confirm(body.token)
        return show(row)

    @endpoint("Confirm Webhook Challenge", "status", action=PUBLIC)
    def on_post_challenge(
        self, req: Request, resp: falcon.Response, body: schemas.StatusSubscriptionChallengeRequest
    ) -> schemas.StatusSubscriptionResponse:
        """Confirm a webhook with the `challenge` that was posted to it. Repeated calls are fine.

        An unknown challenge is a 404; one that is older than ten minutes is a 410, and so is one of a revoked subscription.
        """
        with transaction():
            row = subscribing.answer_challenge(body.token)
        return show(row)

    @endpoint(
        "Get Status Subscription", "status", action=STATUS_SUBSCRIPTION_MANAGE, everywhere=STATUS_OPERATE, tenant=True
    )
    def on_get_one(
        self,
        req: Request,
        resp: falcon.Response,
        subscription_id: UUID,
        query: schemas.StatusSubscriptionQuery,
    ) -> schemas.StatusSubscriptionResponse:
        """One of the list, by its id. Beyond the contract."""
        return show(find(req, subscription_id))

    @endpoint(
        "Change Status Subscription",
        "status",
        action=STATUS_SUBSCRIPTION_MANAGE,
        everywhere=STATUS_OPERATE,
        tenant=True,
    )
    def on_patch_one(
        self,
        req: Request,
        resp: falcon.Response,
        subscription_id: UUID,
        query: schemas.StatusSubscriptionQuery,
        body: schemas.StatusSubscriptionChangeRequest,
    ) -> schemas.StatusSubscriptionResponse:
        """Change what it is told of. Its target stays the same: another one has to be confirmed. Beyond the contract."""
        wishes = body.model_dump(exclude_none=True)
        if body.components:
            wishes["components"] = services.known(body.components)
        with transaction():
            row = subscribing.change(req.context.principal, find(req, subscription_id), wishes, req.context.client)
        return show(row)

    @endpoint("Revoke Status Subscription", "status", action=PUBLIC, optional=True, status=204)
    def on_delete_one(
        self,
        req: Request,
        resp: falcon.Response,
        subscription_id: UUID,
        query: schemas.StatusUnsubscribeQuery,
    ) -> None:
        """End a subscription: with the `token` of a mail, or as somebody who manages the tenant's. Repeated calls are fine.

        A new subscription of the same target starts from the beginning. Its target and secret are erased.
        """
        if query.token and query.token.strip():
            with transaction():
                ending.revoke_by_token(subscription_id, query.token)
            return
        admit(req, STATUS_OPERATE if wants_all(req) else STATUS_SUBSCRIPTION_MANAGE)
        with transaction():
            ending.revoke(req.context.principal, find(req, subscription_id), req.context.client)


def reachable(req: Request) -> "ModelSelect[StatusSubscription]":
    """The rows that the caller may see: the tenant's, or with `all=true`, for which they were admitted as an operator, all."""
    if wants_all(req) and may(req.context.principal, STATUS_OPERATE):
        return StatusSubscription.select()
    return StatusSubscription.visible_to(req.context.principal)


def find(req: Request, subscription_id: UUID) -> StatusSubscription:
    """SubscriptionNotFound."""
    row: StatusSubscription | None = reachable(req).where(StatusSubscription.id == subscription_id).get_or_none()
    if row is None:
        raise SubscriptionNotFound()
    return row


def show(row: StatusSubscription, secret: str | None = None) -> schemas.StatusSubscriptionResponse:
    return schemas.StatusSubscriptionResponse(
        id=row.id,
        channel=row.channel,
        severity_filter=row.severity_filter,
        status=row.status,
        target_masked=row.target_masked,
        tenant_id=row.tenant_id,
        created_by=row.creator,
        created_at=row.created_at,
        updated_at=row.updated_at,
        webhook_secret=secret,
        components=row.components,
        metadata=row.metadata,
        verified_at=row.verified_at,
        failing_since=row.failing_since,
        checked_at=row.checked_at,
        last_error=row.error,
    )


def enqueue_confirmation(row: StatusSubscription, wish: Wish | StatusSubscription) -> None:
    """Have the address asked whether it wants this."""
    enqueue(
        STATUS_CONFIRM,
        tenant_id=row.tenant_id,
        subscription_id=str(row.id),
        severity_filter=wish.severity_filter,
        components=list(wish.components),
    )


def wish_of(body: schemas.StatusSubscriptionCreateRequest) -> Wish:
    text = _address(body.target) if body.channel == EMAIL else body.target
    return Wish(
        targets.parse(body.channel, text),
        body.severity_filter or MAJOR,
        services.known(body.components or []),
        body.metadata or {},
    )


def _address(text: str) -> str:
    if not text.strip():
        raise targets.InvalidTarget()
    try:
        return validate_email(text)[1]
    except PydanticCustomError:
        raise targets.InvalidTarget("This is no e-mail address.") from None


def ask_by_mail(req: Request, wish: Wish) -> schemas.StatusSubscriptionResponse:
    """For whoever `req.context.caller` is, which may be nobody."""
    caller, client = req.context.caller, req.context.client
    quotas.charge_network(EMAIL, client)
    is_mailed = quotas.may_mail(wish.target, client)
    with transaction():
        if caller is not None and _manages(caller):
            shown, row = subscribing.add_mail(wish, caller, client)
        else:
            tenant_id = caller.tenant_id if caller else None
            shown, row = subscribing.ask_by_mail(wish, tenant_id, subscribing.creator_of(caller))
        if is_mailed:
            enqueue_confirmation(row, wish)
    return show(shown)


def _add_webhook(req: Request, wish: Wish) -> schemas.StatusSubscriptionResponse:
    quotas.charge_network(WEBHOOK, req.context.client)
    quotas.charge_url(wish.target)
    with transaction():
        row, secret = subscribing.add_webhook(wish, req.context.principal, req.context.client)
        enqueue(STATUS_CHALLENGE, tenant_id=row.tenant_id, subscription_id=str(row.id))
    return show(row, secret)


def _manages(caller: Principal) -> bool:
    return caller.tenant_id is not None and may(caller, STATUS_SUBSCRIPTION_MANAGE)
