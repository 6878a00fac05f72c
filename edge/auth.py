"""From bearer token to Principal, and who may call which responder."""

import functools
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import falcon
import structlog

from edge import metrics
from models.auth.key_file import TokenInvalid, keyset
from models.auth.service_accounts import ServiceToken
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.platform.errors import BadRequest, Forbidden, NotAuthenticated
from models.platform.ids import parse_uuid
from models.platform.principal import RANK, Principal, role_for
from models.platform.settings import settings

AUDIENCE = settings.items(settings.auth_audience)


class EmailNotVerified(Forbidden):
    code, message = "email_not_verified", "Email verification required."


class InsufficientScope(Forbidden):
    code, message = "insufficient_scope", "Insufficient scopes for this operation."


class InsufficientRole(Forbidden):
    code, message = "insufficient_role", "Insufficient tenant privileges for this operation."


class TenantMismatch(Forbidden):
    code, message = "tenant_mismatch", "Tenant mismatch between token and X-Tenant-Id header."


class TenantMissing(NotAuthenticated):
    code, message = "tenant_missing", "Authenticated token is missing tenant context."


class OverrideRefused(Forbidden):
    code, message = "override_refused", "Platform operator scope (support:*) required for override."


class OverrideReasonMissing(BadRequest):
    code = "override_reason_missing"
    message = "X-Operator-Reason header is required when X-Operator-Override is true."


class AdminRequired(Forbidden):
    code = "insufficient_role"
    message = "Tenant admin privileges required or set X-Operator-Override header to act as operator."


def allow(
    *,
    role: str | None = "viewer",
    scope: str | None = None,
    verified: bool = True,
    people: bool = False,
    override: bool = False,
) -> Callable:
    """Guard a responder. `role=None`: no tenant context is needed, so its headers are not looked at. `people`: machines
    are refused. `override`: operators may act outside their own tenant, with a reason."""

    def guard(responder: Callable) -> Callable:
        @functools.wraps(responder)
        def guarded(self, req: falcon.Request, resp: falcon.Response, **params):
            claims = read_token(req)
            principal = as_principal(claims)
            if people and principal.account:
                raise NotAuthenticated("Token subject must reference a user account.")
            if override:
                principal = _overriding(req, principal, role)
            elif role:
                principal = _in_tenant(req, principal)
            if scope and not principal.has_scope(scope):
                raise InsufficientScope()
            if verified and settings.require_email_verification and not principal.email_verified:
                raise EmailNotVerified()
            if role and not principal.has_role(role):
                raise InsufficientRole()
            req.context.principal, req.context.claims = principal, claims
            structlog.contextvars.bind_contextvars(subject=principal.subject, tenant_id=str(principal.tenant_id))
            return responder(self, req, resp, **params)

        guarded.guard = {"role": role, "scope": scope, "verified": verified, "people": people, "override": override}
        return guarded

    return guard


signed_in = allow(role=None, verified=False, people=True)  # a user, about their own account


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


def as_principal(claims: dict) -> Principal:
    """Who a token speaks for. 401 unless its session, or the service token that it was made with, is alive."""
    kind, _, name = str(claims.get("sub")).partition(":")
    tenant_id, session_id = parse_uuid(claims.get("tenant_id")), parse_uuid(claims.get("sid"))
    scopes = frozenset(str(claims.get("scope") or "").split()) | frozenset(map(str, claims.get("scopes") or ()))
    if kind == "user" and parse_uuid(name):
        if tenant_id is None:
            raise TenantMissing()
        verified = claims.get("email_verified") is True
        principal = Principal(parse_uuid(name), tenant_id, _role(claims), scopes, session_id, verified)
    elif kind == "service-account" and name:
        principal = Principal(None, tenant_id, role_for(scopes), scopes, session_id, True, account=name)
    else:
        raise NotAuthenticated("Token subject must reference a user account.")
    if session_id is None or not is_alive(principal):
        raise NotAuthenticated("The session has ended. Sign in again.")
    return principal


def is_alive(principal: Principal) -> bool:
    """Whether the session, or the service token that an access token was made with, is still good."""
    return (ServiceToken if principal.account else Session).is_alive(principal.session_id)


def _role(claims: dict) -> str:
    held = {"editor": "member"}
    roles = [held.get(str(name).lower(), str(name).lower()) for name in claims.get("roles") or ()]
    return max((name for name in roles if name in RANK), key=RANK.__getitem__, default="viewer")


def _overriding(req: falcon.Request, principal: Principal, role: str | None) -> Principal:
    """An operator with a reason, else an admin of their own tenant."""
    if (req.get_header("X-Operator-Override") or "").strip().lower() in ("1", "true", "yes", "on"):
        if not principal.is_operator:
            raise OverrideRefused()
        reason = (req.get_header("X-Operator-Reason") or "").strip()
        if not reason:
            raise OverrideReasonMissing()
        return replace(principal, role="owner", override=reason[:512])
    try:
        principal = _in_tenant(req, principal)
    except Forbidden:
        raise AdminRequired() from None
    if role and not principal.has_role(role):
        raise AdminRequired()
    return principal


def _in_tenant(req: falcon.Request, principal: Principal) -> Principal:
    """X-Tenant-Id may only repeat the token's tenant, X-Tenant-Role only lower its role. A token without a tenant acts in
    the one that the header names, if it is an operator's."""
    named = req.get_header("X-Tenant-Id")
    if principal.tenant_id is None:
        principal = replace(principal, tenant_id=_chosen_tenant(named, principal))
    elif named and parse_uuid(named) != principal.tenant_id:
        raise TenantMismatch()
    wanted = (req.get_header("X-Tenant-Role") or "").strip().lower()
    if wanted not in RANK:
        return principal
    if RANK[wanted] > RANK[principal.role]:
        raise InsufficientRole("Requested tenant role exceeds privileges granted by token.")
    return replace(principal, role=wanted)


def _chosen_tenant(named: str | None, principal: Principal) -> UUID:
    if not named:
        raise TenantMissing()
    tenant_id = parse_uuid(named)
    if not principal.is_operator or tenant_id is None or Tenant.get_or_none(Tenant.id == tenant_id) is None:
        raise TenantMismatch("The tenant that X-Tenant-Id names is unknown, or not for this caller.")
    return tenant_id
