"""Logging in and out, refreshing tokens, sessions, and who the caller is."""

from uuid import UUID

import falcon
import gevent

from edge.endpoint import endpoint
from edge.hashing import in_line
from edge.metrics import SIGNINGS
from edge.request import Request
from edge.resources.auth.passwords import DEVICE_HEADER, lockout_mail
from edge.schemas.auth.sessions import (
    SessionClientInfo,
    SessionLocationInfo,
    SessionQuery,
    UserLoginRequest,
    UserLogoutRequest,
    UserRefreshRequest,
    UserSessionItem,
    UserSessionListResponse,
    UserSessionResponse,
)
from edge.schemas.common import SuccessResponse
from models.auth import logout, password_login, token_refresh
from models.auth.password_hashing import PasswordHasher
from models.auth.sessions import Session
from models.auth.tokens import IssuedTokens
from models.auth.users import User
from models.platform.authorization import OWN_ACCOUNT, PUBLIC
from models.platform.client_info import describe_user_agent
from models.platform.clock import iso
from models.platform.database import release


def show_tokens(tokens: IssuedTokens, resp: falcon.Response) -> UserSessionResponse:
    if tokens.device_token:
        resp.set_header(DEVICE_HEADER, tokens.device_token)
    for use in ("access", "refresh"):
        SIGNINGS.labels("success", use).inc()
    return UserSessionResponse.model_validate(tokens)


class Token:
    def __init__(self, hasher: PasswordHasher):
        self.hasher = hasher

    @endpoint(
        "Login For Access Token", "auth", action=PUBLIC, headers=(DEVICE_HEADER,), answer_headers=(DEVICE_HEADER,)
    )
    @in_line
    def on_post(self, req: Request, resp: falcon.Response, body: UserLoginRequest) -> UserSessionResponse:
        with lockout_mail():
            tokens = password_login.log_in(
                body.email,
                body.password,
                body.tenant_id,
                hasher=self.hasher,
                client=req.context.client,
                device_token=req.get_header(DEVICE_HEADER),
            )
        return show_tokens(tokens, resp)


class Refresh:
    @endpoint("Refresh Access Token", "auth", action=PUBLIC)
    def on_post(self, req: Request, resp: falcon.Response, body: UserRefreshRequest) -> UserSessionResponse:
        return show_tokens(token_refresh.refresh(body.refresh_token, client=req.context.client), resp)


class Logout:
    """`on_post`: ends the session of a refresh token. `all`: ends all sessions of the user, in all tenants."""

    @endpoint("Logout Session", "auth", action=OWN_ACCOUNT)
    def on_post(self, req: Request, resp: falcon.Response, body: UserLogoutRequest) -> SuccessResponse:
        ended = logout.end_session_of_token(req.context.principal, body.refresh_token, client=req.context.client)
        message = "Session revoked successfully." if ended else "Session already inactive."
        return SuccessResponse(message=message, data={"revoked": ended})

    @endpoint("Logout All Sessions", "auth", action=OWN_ACCOUNT)
    def on_post_all(self, req: Request, resp: falcon.Response) -> SuccessResponse:
        token_count = logout.end_all_sessions(req.context.principal, client=req.context.client)
        message = "All sessions revoked successfully." if token_count else "No active sessions to revoke."
        return SuccessResponse(message=message, data={"revoked": token_count})


class Sessions:
    @endpoint("List User Sessions", "auth", action=OWN_ACCOUNT)
    def on_get(self, req: Request, resp: falcon.Response, query: SessionQuery) -> UserSessionListResponse:
        principal = req.context.principal
        page = Session.page(principal.user_id, **query.model_dump())
        release()
        items = []
        for session in page.items:
            items.append(show_session(session, principal.session_id))
            gevent.sleep(0)  # a User-Agent takes up to ten milliseconds, and its sender chose it
        return UserSessionListResponse(sessions=items, total=page.total, limit=query.limit, offset=query.offset)

    @endpoint("Revoke User Session", "auth", action=OWN_ACCOUNT)
    def on_delete_one(self, req: Request, resp: falcon.Response, session_id: UUID) -> SuccessResponse:
        logout.end_session(req.context.principal, session_id, client=req.context.client)
        return SuccessResponse(message="Session revoked successfully.", data={"revoked": True})


def show_session(session: Session, current: UUID | None) -> UserSessionItem:
    return UserSessionItem(
        id=session.id,
        tenant_id=session.tenant_id,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        revoked_at=session.revoked_at,
        ip_address_masked=session.ip_masked,
        fingerprint=session.fingerprint,
        client=SessionClientInfo(**describe_user_agent(session.user_agent)),
        location=SessionLocationInfo(**session.location) if session.location else None,
        current=session.id == current,
    )


class Me:
    @endpoint("Get Current User Info", "auth", action=OWN_ACCOUNT)
    def on_get(self, req: Request, resp: falcon.Response) -> SuccessResponse:
        principal = req.context.principal
        user, memberships = User.with_memberships(principal.user_id)
        data = {
            "user_id": user.id,
            "email": user.email,
            "display_name": user.display_name,
            "status": user.status,
            "email_verified": user.email_verified_at is not None,
            "tenant_id": principal.tenant_id,
            "created_at": iso(user.created_at),
            "memberships": memberships,
            "token_payload": req.context.claims,
        }
        return SuccessResponse(message="Current user", data=data)
