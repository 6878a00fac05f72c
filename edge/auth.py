"""From bearer token to Principal, and who may call which responder."""

import functools
from collections.abc import Callable

import falcon
import structlog

from edge import metrics
from models.base import parse_uuid
from models.errors import Forbidden, NotAuthenticated
from models.keys import TokenInvalid, keyset
from models.principal import RANK, Principal
from models.sessions import Session
from models.settings import settings

AUDIENCE = settings.items(settings.auth_audience)


class EmailNotVerified(Forbidden):
    code, message = "email_not_verified", "Email verification required."


class InsufficientScope(Forbidden):
    code, message = "insufficient_scope", "Insufficient scopes for this operation."


class InsufficientRole(Forbidden):
    code, message = "insufficient_role", "Insufficient tenant privileges for this operation."


class TenantMismatch(Forbidden):
    code, message = "tenant_mismatch", "Tenant mismatch between token and X-Tenant-Id header."


def allow(*, role: str | None = "viewer", scope: str | None = None, verified: bool = True) -> Callable:
    """Guard a responder. `role=None`: no tenant context is needed, so its headers are not looked at."""

    def guard(responder: Callable) -> Callable:
        @functools.wraps(responder)
        def guarded(self, req: falcon.Request, resp: falcon.Response, **params):
            claims = read_token(req)
            principal = as_principal(claims, req if role else None)
            if principal.session_id is None or not Session.is_alive(principal.session_id):
                raise NotAuthenticated("The session has ended. Sign in again.")
            if scope and not principal.has_scope(scope):
                raise InsufficientScope()
            if verified and settings.require_email_verification and not principal.email_verified:
                raise EmailNotVerified()
            if role and not principal.has_role(role):
                raise InsufficientRole()
            req.context.principal, req.context.claims = principal, claims
            structlog.contextvars.bind_contextvars(user_id=str(principal.user_id), tenant_id=str(principal.tenant_id))
            return responder(self, req, resp, **params)

        guarded.guard = {"role": role, "scope": scope, "verified": verified}
        return guarded

    return guard


def public(responder: Callable) -> Callable:
    """Anybody may call this responder."""
    responder.guard = None
    return responder


def read_token(req: falcon.Request) -> dict:
    scheme, _, token = (req.auth or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("Invalid authentication credentials" if req.auth else "Not authenticated")
    try:
        claims = keyset().verify(token.strip(), audience=AUDIENCE)
    except TokenInvalid:
        metrics.verified("error", "unknown")
        raise NotAuthenticated("Could not validate credentials") from None
    use = str(claims.get("token_use"))
    metrics.verified("success", use if use in ("access", "refresh") else "unknown")
    if use != "access":
        raise NotAuthenticated("Access token required.")
    return claims


def as_principal(claims: dict, req: falcon.Request | None) -> Principal:
    kind, _, subject = str(claims.get("sub")).partition(":")
    user_id, tenant_id = parse_uuid(subject), parse_uuid(claims.get("tenant_id"))
    if kind != "user" or user_id is None:
        raise NotAuthenticated("Token subject must reference a user account.")
    if tenant_id is None:
        raise NotAuthenticated("Authenticated token is missing tenant context.")
    held = {"editor": "member"}
    roles = [held.get(str(name).lower(), str(name).lower()) for name in claims.get("roles") or ()]
    role = max((name for name in roles if name in RANK), key=RANK.__getitem__, default="viewer")
    if req is not None:
        role = _lowered(req, tenant_id, role)
    scopes = frozenset(str(claims.get("scope") or "").split()) | frozenset(map(str, claims.get("scopes") or ()))
    return Principal(
        user_id, tenant_id, role, scopes, parse_uuid(claims.get("sid")), claims.get("email_verified") is True
    )


def _lowered(req: falcon.Request, tenant_id, role: str) -> str:
    """X-Tenant-Id may only repeat the token's tenant, X-Tenant-Role only lower its role."""
    named = req.get_header("X-Tenant-Id")
    if named and parse_uuid(named) != tenant_id:
        raise TenantMismatch()
    wanted = (req.get_header("X-Tenant-Role") or "").strip().lower()
    if wanted not in RANK:
        return role
    if RANK[wanted] > RANK[role]:
        raise InsufficientRole("Requested tenant role exceeds privileges granted by token.")
    return wanted
