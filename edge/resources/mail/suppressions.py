"""Operators: addresses that get no mail, as mail to them has bounced or was complained about."""

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas import mail as schemas
from models.mail import suppressions
from models.mail.suppressions import MailSuppression
from models.platform.authorization import MAIL_OPERATE
from models.platform.database import transaction


class Suppressions:
    @endpoint("List Mail Suppressions", "mail", action=MAIL_OPERATE)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.SuppressionQuery
    ) -> schemas.SuppressionListResponse:
        """Addresses that get no mail any more, the newest first. Beyond the contract."""
        page = suppressions.page(query.reason, query.limit, query.cursor)
        return schemas.SuppressionListResponse(items=[_show(row) for row in page.items], next_cursor=page.next_cursor)

    @endpoint("Suppress Mail", "mail", action=MAIL_OPERATE, status=201)
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.SuppressionRequest
    ) -> schemas.SuppressionResponse:
        """Has no mail sent to an address, not even one that resets a password. Repeating it changes nothing. Beyond the contract."""
        with transaction():
            row = suppressions.add_by_hand(req.context.principal, body.address, client=req.context.client)
        return _show(row)

    @endpoint("Remove Mail Suppression", "mail", action=MAIL_OPERATE)
    def on_post_remove(
        self, req: Request, resp: falcon.Response, body: schemas.SuppressionRequest
    ) -> schemas.SuppressionResponse:
        """Has mail sent to an address again, and returns the suppression as it was. Beyond the contract."""
        with transaction():
            row = suppressions.remove(req.context.principal, body.address, client=req.context.client)
        return _show(row)


def _show(row: MailSuppression) -> schemas.SuppressionResponse:
    return schemas.SuppressionResponse(
        id=str(row.id),
        address_masked=row.address_masked,
        reason=schemas.SuppressionReason(row.reason),
        created_at=row.created_at,
    )
