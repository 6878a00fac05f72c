"""Requests for access: submitted by anybody, decided by operators."""

from uuid import UUID

import falcon

from edge import metrics
from edge.endpoint import endpoint
from edge.request import Request
from edge.resources.auth.invites import show_issued
from edge.resources.auth.signup import show_policy
from edge.schemas.auth import signup as schemas
from models.auth import operators, signup
from models.auth.signup_requests import SignupRequest
from models.auth.users import User
from models.platform.authorization import PUBLIC, SIGNUP_REQUEST_APPROVE, SIGNUP_REQUEST_READ, SIGNUP_REQUEST_REJECT
from models.platform.database import transaction
from workers.jobs import (
    MAIL_ACCESS_KNOWN,
    MAIL_ACCESS_RECEIVED,
    MAIL_ACCESS_REJECTED,
    MAIL_ACCESS_REQUESTED,
    MAIL_INVITE,
    enqueue,
)


class RequestAccess:
    """The answer is the same for a new address, a known one, and a request that a robot filled in."""

    @endpoint("Submit Access Request", "auth", action=PUBLIC, status=202)
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.SignupRequestPublicRequest
    ) -> schemas.SignupAccessPolicyResponse:
        signup.require_requests_enabled()
        signup.count_attempt("signup_request", req.context.client)
        if (body.honeypot or "").strip():
            metrics.SIGNUP_BLOCKED.labels("honeypot").inc()
            return show_policy()
        fields = body.model_dump(include={"email", "organization", "full_name", "message"})
        with signup.charged_address("signup_request", body.email, req.context.client) as attempt, transaction():
            request = SignupRequest.submit(**fields, client=req.context.client)
            if request:
                _enqueue_mails(request)
            else:
                attempt.give_back()
        return show_policy()


def _enqueue_mails(request: SignupRequest) -> None:
    """To the requester, and to every operator who may decide. A known address costs the same as an unknown one."""
    enqueue(MAIL_ACCESS_KNOWN if User.by_email(request.email) else MAIL_ACCESS_RECEIVED, request_id=str(request.id))
    for recipient in operators.operators_with("auth:signup_requests"):
        enqueue(MAIL_ACCESS_REQUESTED, request_id=str(request.id), operator_id=str(recipient.user.id))


class SignupRequests:
    @endpoint("List Signup Requests", "auth", action=SIGNUP_REQUEST_READ)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.SignupRequestQuery
    ) -> schemas.SignupRequestListResponse:
        page = SignupRequest.page(**query.model_dump())
        return schemas.SignupRequestListResponse(
            requests=[show_request(request) for request in page.items], total=page.total
        )

    @endpoint("Approve Signup Request", "auth", action=SIGNUP_REQUEST_APPROVE)
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

    @endpoint("Reject Signup Request", "auth", action=SIGNUP_REQUEST_REJECT)
    def on_post_reject(
        self, req: Request, resp: falcon.Response, request_id: UUID, body: schemas.SignupRequestRejectionRequest
    ) -> schemas.SignupRequestDecisionResponse:
        with transaction():
            request = SignupRequest.reject(
                req.context.principal, request_id, reason=body.reason, client=req.context.client
            )
            enqueue(MAIL_ACCESS_REJECTED, request_id=str(request.id))
        return schemas.SignupRequestDecisionResponse(request=show_request(request))


def show_request(request: SignupRequest) -> schemas.SignupRequestResponse:
    return schemas.SignupRequestResponse.model_validate(request)
