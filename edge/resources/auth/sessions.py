"""Sign-in, refresh, sign-out, sessions, and who I am."""

from dataclasses import asdict
from uuid import UUID

import falcon

from edge.auth import public, signed_in
from edge.metrics import SIGNINGS
from edge.middleware import client_info
from edge.openapi import describes
from edge.resources.auth.passwords import lock_noticed
from edge.schemas.auth.sessions import (
    SessionQuery,
    UserLoginRequest,
    UserLogoutRequest,
    UserRefreshRequest,
    UserSessionListResponse,
    UserSessionResponse,
)
from edge.schemas.common import SuccessResponse
from edge.validation import body, query
from models.auth.login import IssuedTokens, SignIn, SignOut
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.auth.users import Membership, User
from models.platform.client_info import describe_user_agent
from models.platform.clock import iso
from models.platform.errors import NotAuthenticated


def show(tokens: IssuedTokens) -> dict:
    for use in ("access", "refresh"):
        SIGNINGS.labels("success", use).inc()
    times = {name: iso(getattr(tokens, name)) for name in ("expires_at", "refresh_expires_at")}
    return {**asdict(tokens), **times, "session_id": str(tokens.session_id)}


class Token:
    @describes("Login For Access Token", "auth", body=UserLoginRequest, answers={200: UserSessionResponse})
    @public
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        ask = body(req, UserLoginRequest)
        with lock_noticed():
            tokens = SignIn.with_password(ask.email, ask.password, ask.tenant_id, client=client_info(req))
        resp.media = show(tokens)


class Refresh:
    @describes("Refresh Access Token", "auth", body=UserRefreshRequest, answers={200: UserSessionResponse})
    @public
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = show(
            SignIn.with_refresh_token(body(req, UserRefreshRequest).refresh_token, client=client_info(req))
        )


class Logout:
    """`on_post`: the session of one refresh token. `all`: every session of the user, in all tenants."""

    @describes("Logout Session", "auth", body=UserLogoutRequest, answers={200: SuccessResponse})
    @signed_in
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        token = body(req, UserLogoutRequest).refresh_token
        ended = SignOut.this(req.context.principal, token, client=client_info(req))
        message = "Session revoked successfully." if ended else "Session already inactive."
        resp.media = {"success": True, "message": message, "data": {"revoked": bool(ended)}}

    @describes("Logout All Sessions", "auth", answers={200: SuccessResponse})
    @signed_in
    def on_post_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        ended = SignOut.everywhere(req.context.principal, client=client_info(req))
        message = "All sessions revoked successfully." if ended else "No active sessions to revoke."
        resp.media = {"success": True, "message": message, "data": {"revoked": ended}}


class Sessions:
    @describes("List User Sessions", "auth", query=SessionQuery, answers={200: UserSessionListResponse})
    @signed_in
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        me, ask = req.context.principal, query(req, SessionQuery)
        found, total = Session.page(me.user_id, **ask.model_dump())
        resp.media = {
            "sessions": [show_session(session, me.session_id) for session in found],
            "total": total,
            "limit": ask.limit,
            "offset": ask.offset,
        }

    @describes("Revoke User Session", "auth", answers={200: SuccessResponse})
    @signed_in
    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, session_id: UUID) -> None:
        SignOut.one(req.context.principal, session_id, client=client_info(req))
        resp.media = {"success": True, "message": "Session revoked successfully.", "data": {"revoked": True}}


def show_session(session: Session, current: object) -> dict:
    return {
        "id": str(session.id),
        "tenant_id": str(session.tenant_id),
        "created_at": iso(session.created_at),
        "last_seen_at": iso(session.last_seen_at),
        "revoked_at": iso(session.revoked_at) if session.revoked_at else None,
        "ip_address_masked": session.ip_masked,
        "fingerprint": session.fingerprint,
        "client": describe_user_agent(session.user_agent),
        "location": session.location,
        "current": session.id == current,
    }


class Me:
    @describes("Get Current User Info", "auth", answers={200: SuccessResponse})
    @signed_in
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        me = req.context.principal
        rows = (
            User.select(User, Tenant.id.alias("tenant"), Tenant.slug, Tenant.name, Membership.role)
            .join(Membership, on=(Membership.user == User.id))
            .join(Tenant, on=(Membership.tenant == Tenant.id))
            .where(User.id == me.user_id)
            .order_by(Tenant.slug)
            .objects()
        )
        held = list(rows)
        if not held:
            raise NotAuthenticated("Unknown user.")
        user = held[0]
        resp.media = {
            "success": True,
            "message": "Current user",
            "data": {
                "user_id": str(user.id),
                "email": user.email,
                "display_name": user.display_name,
                "status": user.status,
                "email_verified": user.email_verified_at is not None,
                "tenant_id": str(me.tenant_id),
                "created_at": iso(user.created_at),
                "memberships": [
                    {"tenant_id": str(row.tenant), "slug": row.slug, "name": row.name, "role": row.role} for row in held
                ],
                "token_payload": req.context.claims,
            },
        }
