"""Signing up, asking for access, and what operators decide about it."""

from uuid import UUID

import falcon

from edge import metrics
from edge.auth import PUBLIC, operator
from edge.endpoint import endpoint
from edge.errors import Invalid
from edge.request import Request
from edge.resources.auth.passwords import refused_as_422
from edge.resources.auth.sessions import show
from edge.schemas.auth import signup as schemas
from models.auth import operators, signup
from models.auth.invites import Invite
from models.auth.signup import SignupRequest
from models.platform.database import transaction
from workers.jobs import MAIL_ACCESS, MAIL_INVITE, MAIL_VERIFY, enqueue

LONGEST_NAME = 128  # characters of a display name
REQUEST_OPERATOR, INVITE_OPERATOR = operator("auth:signup_requests"), operator("auth:invites")


def policy() -> schemas.SignupAccessPolicyResponse:
    return schemas.SignupAccessPolicyResponse.model_validate(signup.policy())


class SignupPolicy:
    @endpoint("Get Signup Access Policy", "auth", guard=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> schemas.SignupAccessPolicyResponse:
        return policy()


class Register:
    """A tenant and its owner, signed in at once: all of it or nothing."""

    @endpoint("Register Tenant", "auth", guard=PUBLIC, status=201)
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.UserRegisterRequest
    ) -> schemas.UserRegisterResponse:
        if len(body.display_name or "") > LONGEST_NAME:
            text = f"A display name has {LONGEST_NAME} characters at most."
            raise Invalid.at("body", "display_name", msg=text, code="string_too_long")
        with metrics.signup_attempt(policy().policy):
            signup.count_attempt("signup", body.email, req.context.client)
            with signup.seat(body.invite_token, body.email) as reservation:
                with refused_as_422("password"):
                    password_hash = signup.choose_password(body.password, body.email)
                with transaction():
                    tokens, tenant = signup.register(
                        email=body.email,
                        chosen=password_hash,
                        tenant_name=body.tenant_name,
                        held=reservation,
                        display_name=body.display_name,
                        plan_code=body.plan_code,
                        trial_days=body.trial_days,
                        origin=req.context.client,
                    )
                    enqueue(MAIL_VERIFY, user_id=tokens.user_id)
        return schemas.UserRegisterResponse(**show(tokens).model_dump(), tenant_slug=tenant.slug)


class RequestAccess:
    """The answer is the same whether the address is new, known, or filled in by a robot."""

    @endpoint("Submit Access Request", "auth", guard=PUBLIC, status=202)
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.SignupRequestPublicRequest
    ) -> schemas.SignupAccessPolicyResponse:
        if policy().policy == signup.PUBLIC:
            raise signup.SignupIsOpen()
        signup.count_attempt("signup_request", body.email, req.context.client)
        if (body.honeypot or "").strip():
            metrics.SIGNUP_BLOCKED.labels("honeypot").inc()
        else:
            fields = body.model_dump(include={"email", "organization", "full_name", "message"})
            with transaction():
                if request := SignupRequest.submit(**fields, origin=req.context.client):
                    enqueue(MAIL_ACCESS, request_id=str(request.id))
                    for user in operators.everybody("auth:signup_requests"):
                        enqueue(MAIL_ACCESS, request_id=str(request.id), operator_id=str(user.id))
        return policy()


class SignupRequests:
    @endpoint("List Signup Requests", "auth", guard=REQUEST_OPERATOR)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.SignupRequestQuery
    ) -> schemas.SignupRequestListResponse:
        requests, total = SignupRequest.page(**query.model_dump())
        return schemas.SignupRequestListResponse(requests=[show_request(request) for request in requests], total=total)

    @endpoint("Approve Signup Request", "auth", guard=REQUEST_OPERATOR)
    def on_post_approve(
        self, req: Request, resp: falcon.Response, request_id: UUID, body: schemas.SignupRequestApprovalRequest
    ) -> schemas.SignupRequestDecisionResponse:
        with transaction():
            request, invite = SignupRequest.approve(
                req.context.principal,
                request_id,
                note=body.note,
                hours=body.invite_expires_in_hours,
                origin=req.context.client,
            )
            enqueue(MAIL_INVITE, invite_id=str(invite.id))
        return schemas.SignupRequestDecisionResponse(request=show_request(request), invite=show_issued(invite))

    @endpoint("Reject Signup Request", "auth", guard=REQUEST_OPERATOR)
    def on_post_reject(
        self, req: Request, resp: falcon.Response, request_id: UUID, body: schemas.SignupRequestRejectionRequest
    ) -> schemas.SignupRequestDecisionResponse:
        with transaction():
            request = SignupRequest.reject(
                req.context.principal, request_id, reason=body.reason, origin=req.context.client
            )
            enqueue(MAIL_ACCESS, request_id=str(request.id))
        return schemas.SignupRequestDecisionResponse(request=show_request(request))


class Invites:
    @endpoint("List Invites", "auth", guard=INVITE_OPERATOR)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.InviteQuery
    ) -> schemas.SignupInviteListResponse:
        invites, total = Invite.page(**query.model_dump())
        return schemas.SignupInviteListResponse(invites=[show_invite(invite) for invite in invites], total=total)

    @endpoint("Issue Invite", "auth", guard=INVITE_OPERATOR, status=201)
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.SignupInviteIssueRequest
    ) -> schemas.SignupInviteIssueResponse:
        with transaction():
            invite = signup.invite(
                req.context.principal,
                email=body.invited_email,
                request_id=body.signup_request_id,
                max_redemptions=body.max_redemptions,
                hours=body.expires_in_hours,
                note=body.note,
                origin=req.context.client,
            )
            if invite.invited_email:
                enqueue(MAIL_INVITE, invite_id=str(invite.id))
        return show_issued(invite)

    @endpoint("Revoke Invite", "auth", guard=INVITE_OPERATOR)
    def on_post_revoke(self, req: Request, resp: falcon.Response, invite_id: UUID) -> schemas.SignupInviteResponse:
        return show_invite(Invite.revoke(req.context.principal, invite_id, origin=req.context.client))


def show_request(request: SignupRequest) -> schemas.SignupRequestResponse:
    return schemas.SignupRequestResponse.model_validate(request)


def show_invite(invite: Invite) -> schemas.SignupInviteResponse:
    return schemas.SignupInviteResponse(
        id=invite.id,
        token_hint=invite.token_hint,
        invited_email=invite.invited_email,
        status=invite.shown_status,
        max_redemptions=invite.max_redemptions,
        redeemed_count=invite.redeemed_count,
        expires_at=invite.expires_at,
        created_at=invite.created_at,
        signup_request_id=invite.signup_request_id,
        note=invite.note,
    )


def show_issued(invite: Invite) -> schemas.SignupInviteIssueResponse:
    """With its token: once, to whoever issued it."""
    return schemas.SignupInviteIssueResponse(**show_invite(invite).model_dump(), invite_token=invite.token)
