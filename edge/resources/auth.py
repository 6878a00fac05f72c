"""Sign-in, refresh, and who I am."""

from dataclasses import asdict

import falcon

from edge.auth import allow, public
from edge.metrics import SIGNINGS
from edge.middleware import client_ip
from edge.openapi import describes
from edge.schemas.auth import UserLoginRequest, UserRefreshRequest, UserSessionResponse
from edge.schemas.common import SuccessResponse
from edge.validation import body
from models.accounts import IssuedTokens, Membership, SignIn, Tenant, User
from models.base import iso
from models.errors import NotAuthenticated


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
        resp.media = show(
            SignIn.with_password(ask.email, ask.password, ask.tenant_id, ip=client_ip(req), user_agent=req.user_agent)
        )


class Refresh:
    @describes("Refresh Access Token", "auth", body=UserRefreshRequest, answers={200: UserSessionResponse})
    @public
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = show(SignIn.with_refresh_token(body(req, UserRefreshRequest).refresh_token))


class Me:
    @describes("Get Current User Info", "auth", answers={200: SuccessResponse})
    @allow(role=None, verified=False)
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
