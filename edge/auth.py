"""From bearer token to Principal, in the tenant where the request acts."""

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from edge import metrics
from edge.request import Request
from models.auth.authority import principal_of
from models.auth.key_file import keyset
from models.auth.signing_keys import InvalidToken
from models.auth.tenants import Tenant
from models.platform import audit
from models.platform.authorization import (
    Action,
    InsufficientRole,
    PeopleOnly,
    TenantMissing,
    can_act_elsewhere,
    elsewhere,
    require,
)
from models.platform.database import release, transaction
from models.platform.errors import Forbidden, NotAuthenticated
from models.platform.ids import parse_uuid
from models.platform.principal import RANK, Principal
from models.platform.settings import settings

TRUE = ("1", "true", "yes", "on")
REQUEST_LENGTH = 512  # characters of an operator's request that the audit log keeps
UNKNOWN_TENANT = "The tenant that X-Tenant-Id names is unknown, or not for this caller."


class TenantMismatch(Forbidden):
    code, message = "tenant_mismatch", "Tenant mismatch between token and X-Tenant-Id header."


class AdminRequired(Forbidden):
    code = "insufficient_role"
    message = "Tenant admin privileges required or set X-Operator-Override header to act as operator."


def admit(req: Request, action: Action) -> None:
    """Set the request's principal and claims. NotAuthenticated (401) or Forbidden (403) if the caller may not do this."""
    claims = read_token(req)
    principal = principal_of(claims)
    _name_in_log(principal, action)  # before anything is refused
    try:
        principal = _acting(req, principal, action)
        require(principal, action)
    except (TenantMismatch, InsufficientRole):
        if action.everywhere:
            raise AdminRequired() from None
        raise
    if principal.override is not None:
        _name_in_log(principal, action)
        _record_override(req, principal, action)
    req.context.principal, req.context.claims = principal, claims


def admit_by_one(req: Request, *actions: Action) -> None:
    """Like `admit`, by the first of these actions that the caller may do; refused as the last one refuses.

    Who acts in another tenant with a reason does so by an action for which there is such a thing.
    """
    *first, last = actions
    for action in first:
        with suppress(Forbidden):
            if action.elsewhere or not _wants_elsewhere(req):
                admit(req, action)
                return
    admit(req, last)


def optional_caller(req: Request) -> Principal | None:
    """Who calls, where anybody may: None without a token. NotAuthenticated for a token that is not valid (any more)."""
    return principal_of(read_token(req)) if req.auth else None


def wants_all(req: Request) -> bool:
    """Whether the caller asks for the rows of all tenants. Only the words of TRUE count: others do not widen anything."""
    return (req.get_param("all") or "").strip().lower() in TRUE


def _name_in_log(principal: Principal, action: Action) -> None:
    tenant_id = str(principal.tenant_id)
    structlog.contextvars.bind_contextvars(subject=principal.subject, tenant_id=tenant_id, action=action.name)


def read_token(req: Request) -> dict[str, Any]:
    """The claims of the request's access token. NotAuthenticated without a valid one."""
    scheme, _, token = (req.auth or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("Invalid authentication credentials" if req.auth else "Not authenticated")
    began = time.perf_counter()
    try:
        claims = keyset().verify(token.strip(), audience=settings.items(settings.auth_audience))
    except InvalidToken:
        metrics.verified("error", "unknown", time.perf_counter() - began)
        raise NotAuthenticated("Could not validate credentials") from None
    use = str(claims.get("token_use"))
    shown_use = use if use in ("access", "refresh") else "unknown"
    metrics.verified("success", shown_use, time.perf_counter() - began)
    if use != "access":
        raise NotAuthenticated("Access token required.")
    return claims


def _acting(req: Request, principal: Principal, action: Action) -> Principal:
    """The principal where this request acts: in their tenant, or elsewhere as an operator.

    X-Tenant-Id may only repeat the token's tenant, unless an operator acts elsewhere.
    """
    if principal.account and not action.machines:
        raise PeopleOnly()
    if action.elsewhere and _wants_elsewhere(req):
        return _elsewhere(req, principal, action)
    if not action.role:
        return principal
    named = req.get_header("X-Tenant-Id")
    if principal.tenant_id is None:
        return _selecting(req, principal, action, named)
    if named and parse_uuid(named) != principal.tenant_id:
        raise TenantMismatch()
    return _with_lower_role(req, principal)


def _wants_elsewhere(req: Request) -> bool:
    return (req.get_header("X-Operator-Override") or "").strip().lower() in TRUE


def _selecting(req: Request, principal: Principal, action: Action, named: str | None) -> Principal:
    """A machine without a tenant of its own: wherever it acts is elsewhere."""
    if not named:
        raise TenantMissing()
    if not can_act_elsewhere(principal, action):
        raise TenantMismatch(UNKNOWN_TENANT)
    return _elsewhere(req, principal, action)


def _elsewhere(req: Request, principal: Principal, action: Action) -> Principal:
    named, reason = req.get_header("X-Tenant-Id"), req.get_header("X-Operator-Reason")
    if action.everywhere:
        return elsewhere(principal, action, None, reason)
    tenant_id = parse_uuid(named) if named else principal.tenant_id
    acting = elsewhere(principal, action, tenant_id, reason)
    if tenant_id is None or Tenant.get_or_none(Tenant.id == tenant_id) is None:
        raise TenantMismatch(UNKNOWN_TENANT)
    return _with_lower_role(req, acting)


def _with_lower_role(req: Request, principal: Principal) -> Principal:
    """X-Tenant-Role may only lower a role."""
    role = (req.get_header("X-Tenant-Role") or "").strip().lower()
    if role not in RANK:
        return principal
    if RANK[role] > RANK.get(principal.role, 0):
        raise InsufficientRole("Requested tenant role exceeds privileges granted by token.")
    return replace(principal, role=role)


def _record_override(req: Request, principal: Principal, action: Action) -> None:
    """Whatever happens next, it is on record that the operator was there. If that cannot be written, the call fails."""
    with transaction():
        audit.record(
            "operator.acted_elsewhere",
            principal,
            f"tenant:{principal.tenant_id}" if principal.tenant_id else None,
            client=req.context.client,
            operation=action.name,
            request=f"{req.method} {req.relative_uri}"[:REQUEST_LENGTH],
        )
    release()
