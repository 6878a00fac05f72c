"""Pages of Stripe's, and what a change would cost."""

from typing import Any

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.resources.billing import return_urls
from edge.resources.billing.asking import OPERATION_HEADER, asking_tenant, outcome, send
from edge.schemas.billing.subscriptions import (
    CheckoutRequest,
    HostedPageResponse,
    PortalRequest,
    PreviewRequest,
    PreviewResponse,
)
from models.billing import changes
from models.billing.operations import BillingOperation
from models.platform.authorization import BILLING_MANAGE
from models.platform.database import transaction


class Checkout:
    @endpoint(
        "Open Checkout Page",
        "billing",
        action=BILLING_MANAGE,
        status=201,
        tenant=True,
        also={202: HostedPageResponse},
        answer_headers=(OPERATION_HEADER,),
    )
    def on_post(self, req: Request, resp: falcon.Response, tenant_id: str, body: CheckoutRequest) -> HostedPageResponse:
        """A page of Stripe's on which the tenant enters a card and pays for a plan. It ends a trial or a free plan.

        Opening one closes those that were opened before. Beyond the contract.
        """
        tenant, principal = asking_tenant(req, tenant_id), req.context.principal
        urls = {name: return_urls.checked(name, getattr(body, name)) for name in ("success_url", "cancel_url")}
        wish = changes.Start(**body.model_dump(exclude={"success_url", "cancel_url"}))
        with transaction():
            operation = changes.checkout(tenant, wish, urls, principal, req.context.client)
            send(operation)
        return page(resp, outcome(resp, operation))


class Portal:
    @endpoint(
        "Open Billing Portal",
        "billing",
        action=BILLING_MANAGE,
        status=201,
        tenant=True,
        also={202: HostedPageResponse},
        answer_headers=(OPERATION_HEADER,),
    )
    def on_post(self, req: Request, resp: falcon.Response, tenant_id: str, body: PortalRequest) -> HostedPageResponse:
        """A page of Stripe's on which the tenant changes its payment methods and reads its invoices. The link is for
        the caller alone: whoever has it can do the same. Beyond the contract."""
        tenant, principal = asking_tenant(req, tenant_id), req.context.principal
        url = return_urls.checked("return_url", body.return_url)
        with transaction():
            operation = changes.portal(tenant, url, principal, req.context.client)
            send(operation)
        return page(resp, outcome(resp, operation))


class Preview:
    @endpoint(
        "Preview Subscription Change",
        "billing",
        action=BILLING_MANAGE,
        tenant=True,
        also={202: PreviewResponse},
        answer_headers=(OPERATION_HEADER,),
    )
    def on_post(self, req: Request, resp: falcon.Response, tenant_id: str, body: PreviewRequest) -> PreviewResponse:
        """What another plan, or another number of seats, would cost now and with the next invoice. It changes nothing.

        Beyond the contract.
        """
        tenant, principal = asking_tenant(req, tenant_id), req.context.principal
        with transaction():
            operation = changes.preview(tenant, changes.Update(**body.model_dump()), principal)
            send(operation)
        return PreviewResponse(**_answer(resp, outcome(resp, operation)))


def page(resp: falcon.Response, operation: BillingOperation) -> HostedPageResponse:
    return HostedPageResponse(**_answer(resp, operation))


def _answer(resp: falcon.Response, operation: BillingOperation) -> dict[str, Any]:
    """What the operation gave. 202 if that is nothing yet."""
    if not operation.is_finished:
        resp.status = falcon.HTTP_202
    return {"operation_id": str(operation.id), **(operation.result or {})}
