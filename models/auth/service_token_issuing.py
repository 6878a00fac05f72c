"""Issuing a refresh token to a service account, within what the catalogue allows."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from models.auth.service_account_catalogue import ServiceAccount, catalogue
from models.auth.service_tokens import ServiceToken
from models.auth.tenants import Tenant
from models.auth.tokens import REFRESH, hash_refresh_token, key_id_of, now_in_seconds, sign
from models.platform import audit, limits
from models.platform.authorization import SERVICE_TOKEN_ISSUE, Caller, Rights, require
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.errors import BadRequest, Conflict, NotFound
from models.platform.ids import parse_uuid, uuid7
from models.platform.locks import lock
from models.platform.principal import Principal
from models.platform.settings import settings


class ServiceTokenNotAllowed(BadRequest):
    """The catalogue does not allow the token; `message` says why."""

    code = "service_account_refused"


class TenantNotFound(NotFound):
    code, message = "tenant_not_found", "Tenant not found."


class ServiceTokenExists(Conflict):
    """`details` has the `jti` and `expires_at` of the existing token."""

    code, message = "service_token_exists", "A live token with these scopes exists. Use it, or replace it with force."


@dataclass(frozen=True, slots=True)
class ServiceTokenRequest:
    """What is asked for. `lifetime_minutes=None`: the catalogue's default; `force`: replace an existing token."""

    account: str
    scopes: list[str]
    tenant_id: str | None
    lifetime_minutes: int | None = None
    fingerprint: str | None = None
    force: bool = False


def issue(
    request: ServiceTokenRequest,
    *,
    by: Caller,
    reason: str | None = None,
    client: ClientInfo = UNKNOWN_CLIENT,
) -> tuple[ServiceToken, str]:
    """(the stored token, the token itself). One account, tenant and set of scopes has one live token.

    A user gives only scopes that they hold in that tenant; the catalogue alone limits a deployment that signs.

    Raises ServiceTokenNotAllowed, TenantNotFound, OutOfReach, ServiceTokenExists or QuotaExceeded; each attempt counts.
    """
    account = catalogue().get(request.account)
    if account is None:
        raise ServiceTokenNotAllowed(f"Service account '{request.account}' is not defined.")
    _count_attempt(request, by)
    tenant_id = _tenant_id(request, account)
    scopes = _scopes(request, account)
    require(by, SERVICE_TOKEN_ISSUE, Rights(tenant_id, frozenset(scopes)))
    stored, token = _sign(request, scopes, tenant_id, _lifetime(request, account))
    stored.issued_by, stored.reason = by.subject if isinstance(by, Principal) else by, reason
    stored.issuer_id = by.user_id if isinstance(by, Principal) else None
    with transaction():
        _end_live_token(stored, force=request.force)
        stored.save(force_insert=True)
        _record(stored, by, client)
    return stored, token


@in_transaction
def _record(stored: ServiceToken, by: Caller, client: ClientInfo) -> None:
    audit.record(
        "auth.service_token_issued",
        by,
        f"service-token:{stored.id}",
        tenant_id=stored.tenant_id,
        reason=stored.reason,
        client=client,
        account=stored.account,
        scopes=stored.scopes,
    )


def _count_attempt(request: ServiceTokenRequest, by: Caller) -> None:
    """Each user, and all deployments that sign, have limits of their own: nobody can use up those of others."""
    caller = by.subject if isinstance(by, Principal) else "signer"
    limits.hit(
        "service_issue",
        settings.service_issue_rate_limit_per_minute,
        60,
        caller,
        request.account,
        message=f"Issuance rate limit exceeded for account '{request.account}'. Retry later.",
    )
    limits.hit(
        "service_issue_global",
        settings.service_issue_global_rate_limit_per_minute,
        60,
        caller,
        message="Global service-account issuance rate limit exceeded. Retry later.",
    )


def _tenant_id(request: ServiceTokenRequest, account: ServiceAccount) -> UUID | None:
    if account.tenant == "forbidden":
        if request.tenant_id:
            raise ServiceTokenNotAllowed(f"Service account '{request.account}' does not accept tenant identifiers.")
        return None
    if not request.tenant_id:
        raise ServiceTokenNotAllowed(f"Service account '{request.account}' requires a tenant identifier.")
    tenant_id = parse_uuid(request.tenant_id)
    if tenant_id is None:
        raise ServiceTokenNotAllowed("The tenant identifier is not a UUID.")
    if Tenant.get_or_none(Tenant.id == tenant_id) is None:
        raise TenantNotFound()
    return tenant_id


def _scopes(request: ServiceTokenRequest, account: ServiceAccount) -> list[str]:
    scopes = sorted(set(request.scopes))
    if not scopes:
        raise ServiceTokenNotAllowed("At least one scope must be requested.")
    if unsupported := sorted(set(scopes) - set(account.scopes)):
        raise ServiceTokenNotAllowed(f"Unsupported scopes requested: {unsupported}")
    return scopes


def _lifetime(request: ServiceTokenRequest, account: ServiceAccount) -> timedelta:
    minutes = request.lifetime_minutes
    if minutes is None:
        minutes = account.default_lifetime
    if minutes <= 0:
        raise ServiceTokenNotAllowed("Requested lifetime must be positive.")
    if minutes > account.max_lifetime:
        raise ServiceTokenNotAllowed(
            f"Requested lifetime {minutes} exceeds max {account.max_lifetime} for account '{request.account}'."
        )
    return timedelta(minutes=minutes)


def _sign(
    request: ServiceTokenRequest, scopes: list[str], tenant_id: UUID | None, lifetime: timedelta
) -> tuple[ServiceToken, str]:
    moment = now_in_seconds()
    stored = ServiceToken(
        id=uuid7(),
        created_at=moment,
        account=request.account,
        tenant_id=tenant_id,
        scopes=scopes,
        scope_key=" ".join(scopes),
        fingerprint=request.fingerprint,
        expires_at=moment + lifetime,
    )
    claims = {"account": stored.account, **stored.tenant_claim}
    if request.fingerprint:
        claims["fingerprint"] = request.fingerprint
    token = sign(stored.subject, REFRESH, stored.id, scopes, stored.expires_at, **claims)
    stored.token_hash, stored.signing_kid = hash_refresh_token(token), key_id_of(token)
    return stored, token


@in_transaction
def _end_live_token(stored: ServiceToken, *, force: bool) -> None:
    """End the token that the new one replaces. Parallel issues for the same scopes wait here for each other's commit.

    Raises ServiceTokenExists for a token that has not expired, unless `force`.
    """
    lock("service-token", stored.account, stored.tenant_id, stored.scope_key)
    same_scopes = (ServiceToken.account == stored.account) & (ServiceToken.scope_key == stored.scope_key)
    if stored.tenant_id is None:
        same_tenant = ServiceToken.tenant_id.is_null()
    else:
        same_tenant = ServiceToken.tenant_id == stored.tenant_id
    for live in ServiceToken.select().where(same_scopes & same_tenant & ServiceToken.revoked_at.is_null()):
        has_expired = live.expires_at <= now()
        if not has_expired and not force:
            raise ServiceTokenExists(details={"jti": str(live.id), "expires_at": live.expires_at.isoformat()})
        live.end("expired" if has_expired else "replaced")
