"""The contact form, and what operators do with its messages."""

import logging
from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas import contact as schemas
from edge.schemas.common import SuccessResponse
from models.contact import listing, quotas
from models.contact.messages import ContactMessage
from models.contact.recipients import recipients
from models.platform.authorization import CONTACT_OPERATE, PUBLIC
from models.platform.database import transaction
from models.platform.texts import one_line
from workers.jobs import MAIL_CONTACT, enqueue

log = logging.getLogger(__name__)
THANKS = "Thanks for reaching out. We'll respond soon."


class Contact:
    @endpoint("Submit Contact", "contact", action=PUBLIC, status=202)
    def on_post(self, req: Request, resp: falcon.Response, body: schemas.ContactSubmissionRequest) -> SuccessResponse:
        """Leaves a message. It is stored, and mailed to those who answer: `delivered` is false, since that happens later.

        A form with something in `honeypot`, which people do not see, gets the same answer and goes nowhere.
        """
        quotas.charge(body.email, req.context.client)
        is_robot = bool((body.honeypot or "").strip())
        fields = body.model_dump(exclude={"honeypot"})
        with transaction():
            row = ContactMessage.submit(**fields, is_robot=is_robot, client=req.context.client)
            if not is_robot:
                mail(row)
        event = "contact.submission.suppressed" if is_robot else "contact.submission.accepted"
        log.info(event, extra={"reference_id": str(row.id)})
        data = {"reference_id": str(row.id), "delivered": False, "message_id": None, "suppressed": False}
        return SuccessResponse(message=THANKS, data=data)


def mail(row: ContactMessage) -> None:
    """One job for each recipient, so that one who cannot be reached keeps it from no other."""
    for address in recipients():
        enqueue(MAIL_CONTACT, message_id=str(row.id), to=address)


class ContactMessages:
    @endpoint("List Contact Messages", "contact", action=CONTACT_OPERATE)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.ContactMessagesQuery
    ) -> schemas.ContactMessagesResponse:
        """Messages of the contact form, the newest first. Beyond the contract."""
        wanted = listing.Filter(query.state, query.email, query.assignee)
        page = listing.page(wanted, query.limit, query.cursor)
        return schemas.ContactMessagesResponse(items=[show(row) for row in page.items], next_cursor=page.next_cursor)

    @endpoint("Get Contact Message", "contact", action=CONTACT_OPERATE)
    def on_get_one(self, req: Request, resp: falcon.Response, message_id: UUID) -> schemas.ContactMessageResponse:
        """One message; its id is the reference that the sender was told. Beyond the contract."""
        return show(ContactMessage.find(message_id))

    @endpoint("Erase Contact Message", "contact", action=CONTACT_OPERATE, status=204)
    def on_delete_one(self, req: Request, resp: falcon.Response, message_id: UUID) -> None:
        """Deletes a message for good, as its sender may ask. The audit log keeps its id alone. Beyond the contract."""
        with transaction():
            ContactMessage.erase(req.context.principal, message_id, client=req.context.client)

    @endpoint("Assign Contact Message", "contact", action=CONTACT_OPERATE)
    def on_post_assign(
        self, req: Request, resp: falcon.Response, message_id: UUID, body: schemas.ContactAssignRequest
    ) -> schemas.ContactMessageResponse:
        """Gives a message to somebody, by default to the caller; 409 if somebody else has it. Beyond the contract."""
        assignee = one_line(body.assignee) or req.context.principal.subject
        with transaction():
            row = ContactMessage.assign(
                req.context.principal, message_id, assignee, take_over=body.take_over, client=req.context.client
            )
        return show(row)

    @endpoint("Close Contact Message", "contact", action=CONTACT_OPERATE)
    def on_post_close(self, req: Request, resp: falcon.Response, message_id: UUID) -> schemas.ContactMessageResponse:
        """Nothing is left to be done about a message. Closed ones are deleted after a time. Beyond the contract."""
        with transaction():
            return show(ContactMessage.close(req.context.principal, message_id, client=req.context.client))

    @endpoint("Reopen Contact Message", "contact", action=CONTACT_OPERATE)
    def on_post_reopen(self, req: Request, resp: falcon.Response, message_id: UUID) -> schemas.ContactMessageResponse:
        """Opens a closed message again; or one that was taken for a robot's, which is then mailed. Beyond the contract."""
        with transaction():
            row, is_new = ContactMessage.reopen(req.context.principal, message_id, client=req.context.client)
            if is_new:
                mail(row)
        return show(row)


def show(row: ContactMessage) -> schemas.ContactMessageResponse:
    return schemas.ContactMessageResponse.model_validate(row)
