"""Service accounts: the catalogue, their refresh tokens, and the access tokens that machines get for them."""

import hmac
import tomllib
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from peewee import CharField, TextField, UUIDField
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from models.auth import session_cache
from models.auth.signing_keys import SERVICE_ACCOUNT_TOKEN_MINUTES
from models.auth.tenants import Tenant
from models.auth.tokens import (
    REFRESH,
    IssuedTokens,
    RefreshRefused,
    hash_token,
    kid_of,
    sign,
    sign_access,
    whole_seconds,
)
from models.platform import audit, limits
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.errors import BadRequest, Conflict, NotFound
from models.platform.ids import parse_uuid, uuid7
from models.platform.locks import lock
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal
from models.platform.settings import settings

PREFIX = "service-account:"
PACKAGED = Path(__file__).with_name("service_accounts.toml")
ACTIVE, REVOKED = "active", "revoked"


class IssueRefused(BadRequest):
    code = "service_account_refused"


class TenantUnknown(NotFound):
    code, message = "tenant_not_found", "Tenant not found."


class TokenExists(Conflict):
    code, message = "service_token_exists", "A live token with these scopes exists. Use it, or replace it with force."


class TokenNotFound(NotFound):
    code, message = "service_token_not_found", "Token not found."


class Account(BaseModel, extra="forbid"):
    """A service account that tokens may be issued to. Lifetimes are minutes."""

    description: str = Field(min_length=3)
    scopes: list[Annotated[str, StringConstraints(pattern=r"^[a-z_]+:([a-z_]+|\*)$")]] = Field(min_length=1)
    tenant: Literal["required", "forbidden"] = "required"
    max_lifetime: int = Field(gt=0, le=SERVICE_ACCOUNT_TOKEN_MINUTES)
    lifetime: int | None = Field(None, gt=0)  # when none is asked for; default: the longest

    @model_validator(mode="after")
    def _default(self) -> "Account":
        self.lifetime = self.lifetime or self.max_lifetime
        if self.lifetime > self.max_lifetime:
            raise ValueError("lifetime exceeds max_lifetime")
        return self


Catalogue = TypeAdapter(dict[Annotated[str, StringConstraints(pattern="^[a-z0-9-]{3,64}$")], Account])


@cache
def catalogue() -> dict[str, Account]:
    """SystemExit for a file that is missing, empty or wrong: then there is no point in starting."""
    path = Path(settings.service_accounts_path or PACKAGED)
    try:
        found = Catalogue.validate_python(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise SystemExit(f"The catalogue of service accounts, {path}, cannot be used: {error}") from None
    if not found:
        raise SystemExit(f"The catalogue of service accounts, {path}, is empty.")
    return found


class ServiceToken(TenantModel):
    """A service account's refresh token; `id` is its jti and the `sid` of the access tokens made with it."""

    owner = None
    account = CharField()
    tenant_id = UUIDField(null=True)
    scopes = BinaryJSONField()
    scope_key = TextField()
    token_hash = CharField()
    signing_kid = CharField()
    fingerprint = CharField(null=True)
    issued_by = CharField()
    reason = TextField(null=True)
    expires_at = DateTimeTZField()
    revoked_at = DateTimeTZField(null=True)
    revoked_reason = CharField(null=True)

    @classmethod
    def issue(
        cls,
        *,
        account: str,
        scopes: list[str],
        tenant_id: str | None,
        lifetime_minutes: int | None,
        fingerprint: str | None,
        force: bool,
        by: Principal | str,
        reason: str | None = None,
        origin: ClientInfo = UNKNOWN_CLIENT,
    ) -> tuple["ServiceToken", str]:
        """(its row, the token). Of one account, tenant and set of scopes one token is live: `force` replaces it."""
        known = catalogue().get(account)
        if known is None:
            raise IssueRefused(f"Service account '{account}' is not defined.")
        _count(account)
        tenant, wanted = _tenant(account, known, tenant_id), sorted(set(scopes))
        _check_scopes(known, wanted)
        minutes = _lifetime(account, known, lifetime_minutes)
        moment = whole_seconds()
        row = cls(
            id=uuid7(),
            created_at=moment,
            account=account,
            tenant_id=tenant,
            scopes=wanted,
            scope_key=" ".join(wanted),
            fingerprint=fingerprint,
            issued_by=by if isinstance(by, str) else by.subject,
            reason=reason,
            expires_at=moment + timedelta(minutes=minutes),
        )
        token = row._sign()
        with transaction():
            row._replace_live(force)
            row.save(force_insert=True)
            subject = f"service-token:{row.id}"
            audit.record(
                "auth.service_token_issued",
                by,
                subject,
                tenant_id=tenant,
                reason=reason,
                origin=origin,
                account=account,
                scopes=wanted,
            )
        return row, token

    def _sign(self) -> str:
        bound = {"tenant_id": str(self.tenant_id)} if self.tenant_id else {}
        if self.fingerprint:
            bound["fingerprint"] = self.fingerprint
        token = sign(
            PREFIX + self.account, REFRESH, self.id, self.scopes, self.expires_at, account=self.account, **bound
        )
        self.token_hash, self.signing_kid = hash_token(token), kid_of(token)
        return token

    def _replace_live(self, force: bool) -> None:
        """Equal issues wait for each other here until their transactions end."""
        lock("service-token", self.account, self.tenant_id, self.scope_key)
        cls = type(self)
        same = (cls.account == self.account) & (cls.scope_key == self.scope_key) & cls.revoked_at.is_null()
        same &= cls.tenant_id.is_null() if self.tenant_id is None else (cls.tenant_id == self.tenant_id)
        for live in cls.select().where(same):
            if live.expires_at > now() and not force:
                raise TokenExists(details={"jti": str(live.id), "expires_at": live.expires_at.isoformat()})
            live._end("replaced" if live.expires_at > now() else "expired")

    def _end(self, reason: str) -> None:
        self.revoked_at, self.revoked_reason = now(), reason
        self.save(only=[ServiceToken.revoked_at, ServiceToken.revoked_reason])
        session_cache.end([self.id])

    @classmethod
    def is_alive(cls, token_id: UUID) -> bool:
        return session_cache.is_alive(token_id, cls._is_open)

    @classmethod
    def _is_open(cls, token_id: UUID) -> bool:
        return cls.select(cls.id).where((cls.id == token_id) & cls.revoked_at.is_null()).exists()

    @classmethod
    def managed_by(cls, principal: Principal):
        """All tokens for an operator who overrides, else those of the caller's tenant."""
        return cls.select() if principal.override else cls.visible_to(principal)

    @classmethod
    def page(
        cls,
        principal: Principal,
        *,
        account: str | None,
        fingerprint: str | None,
        status: str,
        tenant_id: UUID | None,
        include_global: bool,
        limit: int,
        offset: int,
    ) -> tuple[list["ServiceToken"], int]:
        """(tokens, total), newest first. `include_global`, for operators: those without a tenant, too or alone."""
        query = cls.managed_by(principal)
        if principal.override and (tenant_id or include_global):
            wanted = [cls.tenant_id == tenant_id] if tenant_id else []
            wanted += [cls.tenant_id.is_null()] if include_global else []
            query = query.where(wanted[0] | wanted[-1])
        if account:
            query = query.where(cls.account.contains(account))  # peewee escapes % and _
        if fingerprint:
            query = query.where(cls.fingerprint == fingerprint)
        if status == ACTIVE:
            query = query.where(cls.revoked_at.is_null() & (cls.expires_at > now()))
        elif status == REVOKED:
            query = query.where(cls.revoked_at.is_null(False))
        return list(query.order_by(cls.id.desc()).limit(limit).offset(offset)), query.count()

    @classmethod
    def revoke(
        cls, principal: Principal, jti: UUID | None, reason: str, *, origin: ClientInfo = UNKNOWN_CLIENT
    ) -> None:
        """A second time changes nothing. TokenNotFound for what the caller may not know of."""
        with transaction():
            token = cls.managed_by(principal).where(cls.id == jti).for_update().first() if jti else None
            if token is None:
                raise TokenNotFound()
            if token.revoked_at is None:
                token._end(reason)
                audit.record(
                    "auth.service_token_revoked",
                    principal,
                    f"service-token:{jti}",
                    tenant_id=token.tenant_id,
                    reason=reason,
                    origin=origin,
                )


def is_subject(subject: object) -> bool:
    return str(subject).startswith(PREFIX)


def exchange(claims: dict[str, Any], token: str, *, origin: ClientInfo = UNKNOWN_CLIENT) -> IssuedTokens:
    """An access token for a service account's refresh token, which stays as it is. RefreshRefused otherwise."""
    row = ServiceToken.get_or_none(ServiceToken.id == parse_uuid(claims["jti"]))
    good = row is not None and hmac.compare_digest(row.token_hash, hash_token(token))
    if not good or row.revoked_at or row.expires_at <= now():
        raise RefreshRefused()
    known = catalogue().get(row.account)
    scopes = sorted(set(row.scopes) & set(known.scopes)) if known else []
    if not scopes:
        raise RefreshRefused("The service account is not defined any more.")
    bound = {"tenant_id": str(row.tenant_id)} if row.tenant_id else {}
    access, expires = sign_access(PREFIX + row.account, row.id, scopes, row.expires_at, account=row.account, **bound)
    return IssuedTokens(
        access_token=access,
        refresh_token=token,
        expires_at=expires,
        refresh_expires_at=row.expires_at,
        kid=kid_of(access),
        refresh_kid=row.signing_kid,
        scopes=scopes,
        tenant_id=bound.get("tenant_id", ""),
        user_id=PREFIX + row.account,
        email_verified=True,
        session_id=row.id,
    )


def _count(account: str) -> None:
    """Each attempt counts, whatever comes of it."""
    each, all_ = settings.service_issue_rate_limit_per_minute, settings.service_issue_global_rate_limit_per_minute
    text = f"Issuance rate limit exceeded for account '{account}'. Retry later."
    limits.hit("service_issue", each, 60, account, message=text)
    text = "Global service-account issuance rate limit exceeded. Retry later."
    limits.hit("service_issue_global", all_, 60, message=text)


def _tenant(name: str, account: Account, tenant_id: str | None) -> UUID | None:
    if account.tenant == "forbidden":
        if tenant_id:
            raise IssueRefused(f"Service account '{name}' does not accept tenant identifiers.")
        return None
    if not tenant_id:
        raise IssueRefused(f"Service account '{name}' requires a tenant identifier.")
    known = parse_uuid(tenant_id)
    if known is None:
        raise IssueRefused("The tenant identifier is not a UUID.")
    if Tenant.get_or_none(Tenant.id == known) is None:
        raise TenantUnknown()
    return known


def _check_scopes(account: Account, wanted: list[str]) -> None:
    if not wanted:
        raise IssueRefused("At least one scope must be requested.")
    if unsupported := sorted(set(wanted) - set(account.scopes)):
        raise IssueRefused(f"Unsupported scopes requested: {unsupported}")


def _lifetime(name: str, account: Account, asked: int | None) -> int:
    if asked is None:
        return account.lifetime
    if asked <= 0:
        raise IssueRefused("Requested lifetime must be positive.")
    if asked > account.max_lifetime:
        raise IssueRefused(f"Requested lifetime {asked} exceeds max {account.max_lifetime} for account '{name}'.")
    return asked


def purge(days: int = 30) -> int:
    """Drop tokens that ended more than `days` ago."""
    old = now() - timedelta(days=days)
    return ServiceToken.delete().where((ServiceToken.expires_at < old) | (ServiceToken.revoked_at < old)).execute()
