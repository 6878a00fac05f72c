"""From bearer token to Principal, and who may call which responder."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog

from edge import metrics
from edge.request import Request
from models.auth.authority import principal_of
from models.auth.key_file import keyset
from models.auth.signing_keys import InvalidToken
from models.auth.tenants import Tenant
from models.platform.errors import BadRequest, Forbidden, NotAuthenticated
from models.platform.ids import parse_uuid
from models.platform.principal import RANK, Principal
from models.platform.settings import settings

TRUE = ("1", "true", "yes", "on")
REASON_LENGTH = 512  # characters of an operator's reason that are stored


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Who may call a responder.

    role       the lowest role in the tenant that may call; None: no tenant is needed and the tenant headers are not read
    scope      the scope that the token must have
    verified   whether the caller's address must be verified; only with REQUIRE_EMAIL_VERIFICATION
    people     whether service accounts are refused
    override   whether operators may act in other tenants, with a reason
    """

    role: str | None = "viewer"
    scope: str | None = None
    verified: bool = True
    people: bool = False
    override: bool = False

    def admit(self, req: Request) -> None:
        """Set the request's principal and claims. NotAuthenticated (401) or Forbidden (403) if the caller may not call."""
        claims = read_token(req)
        principal = principal_of(claims)
        if self.people and principal.account:
            raise NotAuthenticated("Token subject must reference a user account.")
        if self.override:
            principal = _overriding(req, principal, self.role)
        elif self.role:
            principal = _in_tenant(req, principal)
        if self.scope and not principal.has_scope(self.scope):
            raise InsufficientScope()
        if self.verified and settings.require_email_verification and not principal.email_verified:
            raise EmailNotVerified()
        if self.role and not principal.has_role(self.role):
            raise InsufficientRole()
        req.context.principal, req.context.claims = principal, claims
        structlog.contextvars.bind_contextvars(subject=principal.subject, tenant_id=str(principal.tenant_id))


PUBLIC: Guard | None = None  # anybody may call it
OWN_ACCOUNT = Guard(role=None, verified=False, people=True)  # users, for their own account


def operator(scope: str) -> Guard:
    """Users who were granted this operator scope."""
    return Guard(role=None, people=True, scope=scope)


def optional_caller(req: Request) -> Principal | None:
    """Who calls, where anybody may: None without a token. NotAuthenticated for a token that is not valid (any more)."""
    return principal_of(read_token(req)) if req.auth else None


def read_token(req: Request) -> dict[str, Any]:
    """The claims of the request's access token. NotAuthenticated without a valid one."""
    scheme, _, token = (req.auth or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("Invalid authentication credentials" if req.auth else "Not authenticated")
    try:
        claims = keyset().verify(token.strip(), audience=settings.items(settings.auth_audience))
    except InvalidToken:
        metrics.verified("error", "unknown")
        raise NotAuthenticated("Could not validate credentials") from None
    use = str(claims.get("token_use"))
    metrics.verified("success", use if use in ("access", "refresh") else "unknown")
    if use != "access":
        raise NotAuthenticated("Access token required.")
    return claims


def _overriding(req: Request, principal: Principal, role: str | None) -> Principal:
    """The principal as an owner with a reason, if an operator asks for that; otherwise as an admin of their own tenant."""
    if (req.get_header("X-Operator-Override") or "").strip().lower() in TRUE:
        if not principal.is_operator:
            raise OverrideRefused()
        reason = (req.get_header("X-Operator-Reason") or "").strip()
        if not reason:
            raise OverrideReasonMissing()
        return replace(principal, role="owner", override=reason[:REASON_LENGTH])
    try:
        principal = _in_tenant(req, principal)
    except Forbidden:
        raise AdminRequired() from None
    if role and not principal.has_role(role):
        raise AdminRequired()
    return principal


def _in_tenant(req: Request, principal: Principal) -> Principal:
    """The principal in their tenant, with their role there.

    X-Tenant-Id may only repeat the token's tenant, and X-Tenant-Role may only lower its role. If the token has no
    tenant, X-Tenant-Id selects one; only operators may do that.
    """
    header = req.get_header("X-Tenant-Id")
    if principal.tenant_id is None:
        principal = replace(principal, tenant_id=_selected_tenant(header, principal))
    elif header and parse_uuid(header) != principal.tenant_id:
        raise TenantMismatch()
    role = (req.get_header("X-Tenant-Role") or "").strip().lower()
    if role not in RANK:
        return principal
    if RANK[role] > RANK[principal.role]:
        raise InsufficientRole("Requested tenant role exceeds privileges granted by token.")
    return replace(principal, role=role)


def _selected_tenant(header: str | None, principal: Principal) -> UUID:
    if not header:
        raise TenantMissing()
    tenant_id = parse_uuid(header)
    if not principal.is_operator or tenant_id is None or Tenant.get_or_none(Tenant.id == tenant_id) is None:
        raise TenantMismatch("The tenant that X-Tenant-Id names is unknown, or not for this caller.")
    return tenant_id
