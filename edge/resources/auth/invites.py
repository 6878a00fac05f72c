"""Invites: listed, issued and revoked by operators."""

from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.auth import signup as schemas
from models.auth.invites import Invite
from models.auth.signup_requests import SignupRequest
from models.platform.authorization import INVITE_ISSUE, INVITE_READ, INVITE_REVOKE
from models.platform.client_info import ClientInfo
from models.platform.database import transaction
from models.platform.principal import Principal
from workers.jobs import MAIL_INVITE, enqueue


class Invites:
    @endpoint("List Invites", "auth", action=INVITE_READ)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.InviteQuery
    ) -> schemas.SignupInviteListResponse:
        page = Invite.page(**query.model_dump())
        return schemas.SignupInviteListResponse(
            invites=[show_invite(invite) for invite in page.items], total=page.total
        )

    @endpoint("Issue Invite", "auth", action=INVITE_ISSUE, status=201)
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.SignupInviteIssueRequest
    ) -> schemas.SignupInviteIssueResponse:
        with transaction():
            invite = _issue_invite(req.context.principal, body, req.context.client)
            if invite.invited_email:
                enqueue(MAIL_INVITE, invite_id=str(invite.id))
        return show_issued(invite)

    @endpoint("Revoke Invite", "auth", action=INVITE_REVOKE)
    def on_post_revoke(self, req: Request, resp: falcon.Response, invite_id: UUID) -> schemas.SignupInviteResponse:
        return show_invite(Invite.revoke(req.context.principal, invite_id, client=req.context.client))


def _issue_invite(principal: Principal, body: schemas.SignupInviteIssueRequest, client: ClientInfo) -> Invite:
    email = body.invited_email
    if body.signup_request_id:
        email = SignupRequest.email_to_invite(body.signup_request_id, email)
    return Invite.issue(
        principal,
        email=email,
        max_redemptions=body.max_redemptions,
        hours=body.expires_in_hours,
        note=body.note,
        request_id=body.signup_request_id,
        client=client,
    )


def show_invite(invite: Invite) -> schemas.SignupInviteResponse:
    return schemas.SignupInviteResponse(
        id=invite.id,
        token_hint=invite.token_hint,
        invited_email=invite.invited_email,
        status=invite.current_status,
        max_redemptions=invite.max_redemptions,
        redeemed_count=invite.redeemed_count,
        expires_at=invite.expires_at,
        created_at=invite.created_at,
        signup_request_id=invite.signup_request_id,
        note=invite.note,
    )


def show_issued(invite: Invite) -> schemas.SignupInviteIssueResponse:
    """The invite with its token, which is shown to its issuer once."""
    return schemas.SignupInviteIssueResponse(**show_invite(invite).model_dump(), invite_token=invite.token)
