"""Pages to subscribe, to confirm that, and to end it: for links in mails, and for browsers without a script.

GET changes nothing: programs that check mails for viruses open their links. The token in the link is the right to act.
"""

from uuid import UUID

import falcon
from pydantic import BaseModel, Field

from edge.bodies import BodyLimits, read_body
from edge.endpoint import undocumented
from edge.pages import message, page
from edge.request import Request
from edge.resources.status.subscriptions import ask_by_mail, wish_of
from edge.schemas.status.subscriptions import Components, Severity, StatusSubscriptionCreateRequest
from edge.validation import form
from models.platform.authorization import PUBLIC
from models.platform.database import transaction
from models.platform.errors import BadRequest, Forbidden
from models.platform.ids import parse_uuid
from models.status import ending, subscribing


class LinkIncomplete(BadRequest):
    code, message = "link_incomplete", "The link is not complete. Copy it from the mail as a whole."


class AddressMissing(BadRequest):
    code, message = "address_missing", "Write your mail address into the form."


class AnotherSite(Forbidden):
    code, message = "another_site", "Open the status page itself to subscribe."


class SubscribeForm(BaseModel):
    email: str = Field("", max_length=320)
    severity: Severity = "major"
    component: Components = []


class SubscriptionPages:
    @undocumented(action=PUBLIC)
    @page
    def on_get_subscribe(self, req: Request, resp: falcon.Response) -> None:
        """Where a browser comes back to after its form was answered."""
        resp.status, resp.location = falcon.HTTP_303, "/status#subscribe"

    @undocumented(action=PUBLIC)
    @page
    def on_post_subscribe(self, req: Request, resp: falcon.Response) -> None:
        """The answer is the same, whether the address is subscribed already or not."""
        if req.get_header("Sec-Fetch-Site") == "cross-site":  # another page would have its visitors subscribe addresses
            raise AnotherSite()
        asked = form(req, SubscribeForm)
        if not asked.email.strip():
            raise AddressMissing()
        body = StatusSubscriptionCreateRequest(
            channel="email", target=asked.email, severity_filter=asked.severity, components=asked.component
        )
        req.context.caller = None
        ask_by_mail(req, wish_of(body))
        text = "If nobody has asked too often, a mail is on its way to the address. Nothing else is sent before its link was used."
        message(resp, "Check your mail", text, tone="good")

    @undocumented(action=PUBLIC)
    @page
    def on_get_confirm(self, req: Request, resp: falcon.Response) -> None:
        _token(req)
        text = "After that you are told by mail of what you have asked for. Each mail has a link to end it."
        message(resp, "Confirm your subscription", text, button="Confirm")

    @undocumented(action=PUBLIC)
    @page
    def on_post_confirm(self, req: Request, resp: falcon.Response) -> None:
        """Repeated calls are fine."""
        token = _token(req)
        try:
            with transaction():
                subscribing.confirm(token)
        except subscribing.TokenInvalid as error:
            text = (
                "It was not made by us, or it has been cut off. Copy it from the mail as a whole, or subscribe again."
            )
            message(resp, "This link does not work", text, tone="slow", status=error.status)
        except subscribing.TokenExpired as error:
            text = "Subscribe again on the status page: you are then sent another link."
            message(resp, "This link has expired", text, tone="slow", status=error.status)
        except subscribing.SubscriptionRevoked as error:
            text = "If you want mails again, subscribe on the status page."
            message(resp, "This subscription was ended", text, tone="slow", status=error.status)
        else:
            message(
                resp, "You are subscribed", "You will be told by mail. Each mail has a link to end it.", tone="good"
            )

    @undocumented(action=PUBLIC)
    @page
    def on_get_unsubscribe(self, req: Request, resp: falcon.Response) -> None:
        _subscription(req)
        _token(req)
        text = "You will get no more mails of this subscription, and your address is erased."
        message(resp, "End this subscription?", text, button="Unsubscribe", grave=True)

    @undocumented(action=PUBLIC)
    @page
    def on_post_unsubscribe(self, req: Request, resp: falcon.Response) -> None:
        """Also for mail programs (RFC 8058), whose body, `List-Unsubscribe=One-Click`, says nothing that the link does not.

        Repeated calls are fine.
        """
        subscription_id, token = _subscription(req), _token(req)
        read_body(req, BodyLimits.of(req))
        try:
            with transaction():
                ending.revoke_by_token(subscription_id, token)
        except ending.UnsubscribeTokenInvalid as error:
            text = "It was not made by us, or it has been cut off. Copy it from the mail as a whole."
            message(resp, "This link does not work", text, tone="slow", status=error.status)
        else:
            message(resp, "You are unsubscribed", "You will get no more of these mails.", tone="good")


def _token(req: Request) -> str:
    token = req.get_param("token")
    if not token:
        raise LinkIncomplete()
    return token


def _subscription(req: Request) -> UUID:
    subscription_id = parse_uuid(req.get_param("subscription_id"))
    if subscription_id is None:
        raise LinkIncomplete()
    return subscription_id
