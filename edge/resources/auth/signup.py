"""Signing up, asking for access, and what operators decide about it."""

from uuid import UUID

import falcon

from edge import metrics
from edge.auth import allow, public
from edge.errors import Invalid
from edge.middleware import client_info
from edge.openapi import describes
from edge.resources.auth.passwords import refused_as_422
from edge.resources.auth.sessions import show
from edge.schemas.auth import signup as schemas
from edge.validation import body, query
from models.auth import operators, signup
from models.auth.invites import Invite
from models.auth.signup import SignupRequest
from models.platform.clock import iso
from models.platform.database import transaction
from workers.jobs import MAIL_ACCESS, MAIL_INVITE, MAIL_VERIFY, enqueue

LONGEST_NAME = 128  # characters of a display name


class SignupPolicy:
    @describes("Get Signup Access Policy", "auth", answers={200: schemas.SignupAccessPolicyResponse})
    @public
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = signup.policy()


class Register:
    """A tenant and its owner, signed in at once: all of it or nothing."""

    @describes("Register Tenant", "auth", body=schemas.UserRegisterRequest, answers={201: schemas.UserRegisterResponse})
    @public
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        ask = body(req, schemas.UserRegisterRequest)
        if len(ask.display_name or "") > LONGEST_NAME:
            text = f"A display name has {LONGEST_NAME} characters at most."
            raise Invalid([{"loc": ["body", "display_name"], "msg": text, "type": "string_too_long"}])
        with metrics.signup_attempt(signup.policy()["policy"]):
            signup.count_attempt("signup", ask.email, client_info(req))
            with signup.seat(ask.invite_token, ask.email) as held:
                with refused_as_422("password"):
                    chosen = signup.choose_password(ask.password, ask.email)
                with transaction():
                    tokens, tenant = signup.register(
                        email=ask.email,
                        chosen=chosen,
                        tenant_name=ask.tenant_name,
                        held=held,
                        display_name=ask.display_name,
                        plan_code=ask.plan_code,
                        trial_days=ask.trial_days,
                        client=client_info(req),
                    )
                    enqueue(MAIL_VERIFY, user_id=tokens.user_id)
        resp.status = falcon.HTTP_201
        resp.media = {**show(tokens), "tenant_slug": tenant.slug}


class RequestAccess:
    """The answer is the same whether the address is new, known, or filled in by a robot."""

    @describes(
        "Submit Access Request",
        "auth",
        body=schemas.SignupRequestPublicRequest,
        answers={202: schemas.SignupAccessPolicyResponse},
    )
    @public
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        ask = body(req, schemas.SignupRequestPublicRequest)
        if signup.policy()["policy"] == signup.PUBLIC:
            raise signup.SignupIsOpen()
        signup.count_attempt("signup_request", ask.email, client_info(req))
        if (ask.honeypot or "").strip():
            metrics.SIGNUP_BLOCKED.labels("honeypot").inc()
        else:
            wanted = ask.model_dump(include={"email", "organization", "full_name", "message"})
            with transaction():
                if request := SignupRequest.submit(**wanted, client=client_info(req)):
                    enqueue(MAIL_ACCESS, request_id=str(request.id))
                    for operator in operators.everybody("auth:signup_requests"):
                        enqueue(MAIL_ACCESS, request_id=str(request.id), operator_id=str(operator.id))
        resp.status = falcon.HTTP_202
        resp.media = signup.policy()


class SignupRequests:
    @describes(
        "List Signup Requests",
        "auth",
        query=schemas.SignupRequestQuery,
        answers={200: schemas.SignupRequestListResponse},
    )
    @allow(role=None, verified=False, people=True, scope="auth:signup_requests")
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        found, total = SignupRequest.page(**query(req, schemas.SignupRequestQuery).model_dump())
        resp.media = {"requests": [show_request(request) for request in found], "total": total}

    @describes(
        "Approve Signup Request",
        "auth",
        body=schemas.SignupRequestApprovalRequest,
        answers={200: schemas.SignupRequestDecisionResponse},
    )
    @allow(role=None, verified=False, people=True, scope="auth:signup_requests")
    def on_post_approve(self, req: falcon.Request, resp: falcon.Response, request_id: UUID) -> None:
        ask, me = body(req, schemas.SignupRequestApprovalRequest), req.context.principal
        with transaction():
            request, invite = SignupRequest.approve(
                me, request_id, note=ask.note, hours=ask.invite_expires_in_hours, client=client_info(req)
            )
            enqueue(MAIL_INVITE, invite_id=str(invite.id))
        resp.media = {"request": show_request(request), "invite": show_invite(invite, token=True)}

    @describes(
        "Reject Signup Request",
        "auth",
        body=schemas.SignupRequestRejectionRequest,
        answers={200: schemas.SignupRequestDecisionResponse},
    )
    @allow(role=None, verified=False, people=True, scope="auth:signup_requests")
    def on_post_reject(self, req: falcon.Request, resp: falcon.Response, request_id: UUID) -> None:
        ask, me = body(req, schemas.SignupRequestRejectionRequest), req.context.principal
        with transaction():
            request = SignupRequest.reject(me, request_id, reason=ask.reason, client=client_info(req))
            enqueue(MAIL_ACCESS, request_id=str(request.id))
        resp.media = {"request": show_request(request), "invite": None}


class Invites:
    @describes("List Invites", "auth", query=schemas.InviteQuery, answers={200: schemas.SignupInviteListResponse})
    @allow(role=None, verified=False, people=True, scope="auth:invites")
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        found, total = Invite.page(**query(req, schemas.InviteQuery).model_dump())
        resp.media = {"invites": [show_invite(invite) for invite in found], "total": total}

    @describes(
        "Issue Invite",
        "auth",
        body=schemas.SignupInviteIssueRequest,
        answers={201: schemas.SignupInviteIssueResponse},
    )
    @allow(role=None, verified=False, people=True, scope="auth:invites")
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        ask = body(req, schemas.SignupInviteIssueRequest)
        with transaction():
            invite = signup.invite(
                req.context.principal,
                email=ask.invited_email,
                request_id=ask.signup_request_id,
                max_redemptions=ask.max_redemptions,
                hours=ask.expires_in_hours,
                note=ask.note,
                client=client_info(req),
            )
            if invite.invited_email:
                enqueue(MAIL_INVITE, invite_id=str(invite.id))
        resp.status = falcon.HTTP_201
        resp.media = show_invite(invite, token=True)

    @describes("Revoke Invite", "auth", answers={200: schemas.SignupInviteResponse})
    @allow(role=None, verified=False, people=True, scope="auth:invites")
    def on_post_revoke(self, req: falcon.Request, resp: falcon.Response, invite_id: UUID) -> None:
        resp.media = show_invite(Invite.revoke(req.context.principal, invite_id, client=client_info(req)))


def show_request(request: SignupRequest) -> dict:
    return {
        "id": str(request.id),
        "email": request.email,
        "organization": request.organization,
        "full_name": request.full_name,
        "message": request.message,
        "status": request.status,
        "created_at": iso(request.created_at),
        "decided_at": iso(request.decided_at) if request.decided_at else None,
        "decided_by": request.decided_by,
        "decision_reason": request.decision_reason,
        "invite_token_hint": request.invite_token_hint,
    }


def show_invite(invite: Invite, *, token: bool = False) -> dict:
    """`token`: once, to who has issued it."""
    shown = {
        "id": str(invite.id),
        "token_hint": invite.token_hint,
        "invited_email": invite.invited_email,
        "status": invite.shown_status,
        "max_redemptions": invite.max_redemptions,
        "redeemed_count": invite.redeemed_count,
        "expires_at": iso(invite.expires_at) if invite.expires_at else None,
        "created_at": iso(invite.created_at),
        "signup_request_id": str(invite.signup_request_id) if invite.signup_request_id else None,
        "note": invite.note,
    }
    return {**shown, "invite_token": invite.token} if token else shown
