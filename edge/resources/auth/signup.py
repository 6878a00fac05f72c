"""Signing up, asking for access, and what operators decide about it."""

from uuid import UUID

import falcon

from edge import metrics
from edge.auth import PUBLIC, operator
from edge.endpoint import endpoint
from edge.errors import Invalid
from edge.request import Request
from edge.resources.auth.passwords import rejected_as_422
from edge.resources.auth.sessions import show_tokens
from edge.schemas.auth import signup as schemas
from models.auth import operators, passwords, signup
from models.auth.invites import Invite
from models.auth.password_hashing import PasswordHasher
from models.auth.signup_requests import SignupRequest
from models.auth.users import User
from models.platform.client_info import ClientInfo
from models.platform.database import release, transaction
from models.platform.principal import Principal
from workers.jobs import (
    MAIL_ACCESS_KNOWN,
    MAIL_ACCESS_RECEIVED,
    MAIL_ACCESS_REJECTED,
    MAIL_ACCESS_REQUESTED,
    MAIL_INVITE,
    MAIL_VERIFY,
    enqueue,
)

LONGEST_NAME = 128  # characters of a display name
REQUEST_OPERATOR, INVITE_OPERATOR = operator("auth:signup_requests"), operator("auth:invites")


def policy() -> schemas.SignupAccessPolicyResponse:
    return schemas.SignupAccessPolicyResponse.model_validate(signup.current_policy())


class SignupPolicy:
    @endpoint("Get Signup Access Policy", "auth", guard=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> schemas.SignupAccessPolicyResponse:
        return policy()


class Register:
    """Creates a tenant and its owner, and logs the owner in: all of it or nothing."""

    def __init__(self, hasher: PasswordHasher):
        self.hasher = hasher

    @endpoint("Register Tenant", "auth", guard=PUBLIC, status=201)
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.UserRegisterRequest
    ) -> schemas.UserRegisterResponse:
        if len(body.display_name or "") > LONGEST_NAME:
            text = f"A display name has {LONGEST_NAME} characters at most."
            raise Invalid.at("body", "display_name", msg=text, code="string_too_long")
        with metrics.signup_attempt(policy().policy):
            signup.count_attempt("signup", body.email, req.context.client)
            with signup.reserved_seat(body.invite_token, body.email) as reservation:
                registration = self._registration(body)
                with transaction():
                    tokens, tenant = signup.register(registration, reservation, client=req.context.client)
                    enqueue(MAIL_VERIFY, user_id=tokens.user_id)
        return schemas.UserRegisterResponse(**show_tokens(tokens).model_dump(), tenant_slug=tenant.slug)

    def _registration(self, body: schemas.UserRegisterRequest) -> signup.Registration:
        release()  # hashing takes time
        with rejected_as_422("password"):
            password_hash = passwords.choose_password(body.password, body.email, hasher=self.hasher)
        return signup.Registration(
            email=body.email,
            password_hash=password_hash,
            tenant_name=body.tenant_name,
            display_name=body.display_name,
            plan_code=body.plan_code,
            trial_days=body.trial_days,
        )


class RequestAccess:
    """The answer is the same for a new address, a known one, and a request that a robot filled in."""

    @endpoint("Submit Access Request", "auth", guard=PUBLIC, status=202)
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.SignupRequestPublicRequest
    ) -> schemas.SignupAccessPolicyResponse:
        signup.require_requests_enabled()
        signup.count_attempt("signup_request", body.email, req.context.client)
        if (body.honeypot or "").strip():
            metrics.SIGNUP_BLOCKED.labels("honeypot").inc()
            return policy()
        fields = body.model_dump(include={"email", "organization", "full_name", "message"})
        with transaction():
            request = SignupRequest.submit(**fields, client=req.context.client)
            if request:
                _enqueue_mails(request)
        return policy()


def _enqueue_mails(request: SignupRequest) -> None:
    """To the requester, and to every operator who may decide. A known address costs the same as an unknown one."""
    enqueue(MAIL_ACCESS_KNOWN if User.by_email(request.email) else MAIL_ACCESS_RECEIVED, request_id=str(request.id))
    for recipient in operators.operators_with("auth:signup_requests"):
        enqueue(MAIL_ACCESS_REQUESTED, request_id=str(request.id), operator_id=str(recipient.user.id))


class SignupRequests:
    @endpoint("List Signup Requests", "auth", guard=REQUEST_OPERATOR)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.SignupRequestQuery
    ) -> schemas.SignupRequestListResponse:
        page = SignupRequest.page(**query.model_dump())
        return schemas.SignupRequestListResponse(
            requests=[show_request(request) for request in page.items], total=page.total
        )

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
                client=req.context.client,
            )
            enqueue(MAIL_INVITE, invite_id=str(invite.id))
        return schemas.SignupRequestDecisionResponse(request=show_request(request), invite=show_issued(invite))

    @endpoint("Reject Signup Request", "auth", guard=REQUEST_OPERATOR)
    def on_post_reject(
        self, req: Request, resp: falcon.Response, request_id: UUID, body: schemas.SignupRequestRejectionRequest
    ) -> schemas.SignupRequestDecisionResponse:
        with transaction():
            request = SignupRequest.reject(
                req.context.principal, request_id, reason=body.reason, client=req.context.client
            )
            enqueue(MAIL_ACCESS_REJECTED, request_id=str(request.id))
        return schemas.SignupRequestDecisionResponse(request=show_request(request))


class Invites:
    @endpoint("List Invites", "auth", guard=INVITE_OPERATOR)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.InviteQuery
    ) -> schemas.SignupInviteListResponse:
        page = Invite.page(**query.model_dump())
        return schemas.SignupInviteListResponse(
            invites=[show_invite(invite) for invite in page.items], total=page.total
        )

    @endpoint("Issue Invite", "auth", guard=INVITE_OPERATOR, status=201)
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.SignupInviteIssueRequest
    ) -> schemas.SignupInviteIssueResponse:
        with transaction():
            invite = _issue_invite(req.context.principal, body, req.context.client)
            if invite.invited_email:
                enqueue(MAIL_INVITE, invite_id=str(invite.id))
        return show_issued(invite)

    @endpoint("Revoke Invite", "auth", guard=INVITE_OPERATOR)
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


def show_request(request: SignupRequest) -> schemas.SignupRequestResponse:
    return schemas.SignupRequestResponse.model_validate(request)


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
