"""The refresh tokens of service accounts: stored, listed, revoked, and exchanged for access tokens."""

from datetime import timedelta
from uuid import UUID

from peewee import CharField, ModelSelect, TextField, UUIDField

from models.auth import session_cache
from models.auth.service_account_catalogue import catalogue
from models.auth.tokens import (
    SERVICE_ACCOUNT_SUBJECT,
    InvalidRefreshToken,
    IssuedTokens,
    is_refresh_token,
    key_id_of,
    sign_access_token,
)
from models.platform import audit
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.errors import NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.paging import Page
from models.platform.principal import Principal

ACTIVE, REVOKED = "active", "revoked"


class ServiceTokenNotFound(NotFound):
    code, message = "service_token_not_found", "Token not found."


class ServiceToken(TenantModel):
    """A service account's refresh token. `id` is its `jti`, and the `sid` of the access tokens made with it."""

    owner = None
    account = CharField()
    tenant_id = UUIDField(null=True)  # type: ignore[assignment]  # some accounts have no tenant
    scopes: list[str] = BinaryJSONField()
    scope_key = TextField()  # the scopes as one text: part of a unique index
    token_hash = CharField()
    signing_kid = CharField()
    fingerprint = CharField(null=True)
    issued_by = CharField()
    reason = TextField(null=True)
    expires_at = DateTimeTZField()
    revoked_at = DateTimeTZField(null=True)
    revoked_reason = CharField(null=True)

    @property
    def subject(self) -> str:
        return SERVICE_ACCOUNT_SUBJECT + self.account

    @property
    def tenant_claim(self) -> dict[str, str]:
        return {"tenant_id": str(self.tenant_id)} if self.tenant_id else {}

    @in_transaction
    def end(self, reason: str) -> None:
        """Revoke the token, and refuse its access tokens after the commit."""
        self.revoked_at, self.revoked_reason = now(), reason
        self.save(only=[ServiceToken.revoked_at, ServiceToken.revoked_reason])
        session_cache.end([self.id])

    @classmethod
    def is_open(cls, token_id: UUID) -> bool:
        """Whether access tokens made with this token are still accepted."""
        return session_cache.is_open(token_id, cls._is_open_in_postgres)

    @classmethod
    def _is_open_in_postgres(cls, token_id: UUID) -> bool:
        return cls.select(cls.id).where((cls.id == token_id) & cls.revoked_at.is_null()).exists()

    @classmethod
    def managed_by(cls, principal: Principal) -> "ModelSelect[ServiceToken]":
        """The tokens of the caller's tenant; of all tenants for an operator with an override."""
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
    ) -> "Page[ServiceToken]":
        """The tokens that the caller manages, newest first. `account` matches a part of the name.

        An operator with an override chooses by `tenant_id`, and with `include_global` tokens without a tenant as well.
        """
        query = cls.managed_by(principal)
        if principal.override:
            query = cls._in_tenants(query, tenant_id, include_global)
        if account:
            query = query.where(cls.account.contains(account))  # peewee escapes % and _
        if fingerprint:
            query = query.where(cls.fingerprint == fingerprint)
        if status == ACTIVE:
            query = query.where(cls.revoked_at.is_null() & (cls.expires_at > now()))
        elif status == REVOKED:
            query = query.where(cls.revoked_at.is_null(False))
        return Page.of(query.order_by(cls.id.desc()), limit=limit, offset=offset)

    @classmethod
    def _in_tenants(
        cls, query: "ModelSelect[ServiceToken]", tenant_id: UUID | None, include_global: bool
    ) -> "ModelSelect[ServiceToken]":
        in_tenant, without_tenant = cls.tenant_id == tenant_id, cls.tenant_id.is_null()
        if tenant_id and include_global:
            return query.where(in_tenant | without_tenant)
        if tenant_id:
            return query.where(in_tenant)
        if include_global:
            return query.where(without_tenant)
        return query

    @classmethod
    def revoke(
        cls, principal: Principal, token_id: UUID | None, reason: str, *, client: ClientInfo = UNKNOWN_CLIENT
    ) -> None:
        """Revoke a token; a second time changes nothing. Raises ServiceTokenNotFound for one the caller cannot see."""
        with transaction():
            token = cls.managed_by(principal).where(cls.id == token_id).for_update().first() if token_id else None
            if token is None:
                raise ServiceTokenNotFound()
            if token.revoked_at:
                return
            token.end(reason)
            audit.record(
                "auth.service_token_revoked",
                principal,
                f"service-token:{token_id}",
                tenant_id=token.tenant_id,
                reason=reason,
                client=client,
            )


def exchange(token_id: UUID, token: str) -> IssuedTokens:
    """An access token for a service account's refresh token, which stays as it is. Raises InvalidRefreshToken.

    The catalogue counts: a scope that it no longer gives the account is left out.
    """
    stored = _find_valid(token_id, token)
    scopes = _current_scopes(stored)
    access_token, expires_at = sign_access_token(
        stored.subject, stored.id, scopes, stored.expires_at, account=stored.account, **stored.tenant_claim
    )
    return IssuedTokens(
        access_token=access_token,
        refresh_token=token,
        expires_at=expires_at,
        refresh_expires_at=stored.expires_at,
        kid=key_id_of(access_token),
        refresh_kid=stored.signing_kid,
        scopes=scopes,
        tenant_id=stored.tenant_id,
        user_id=stored.subject,
        email_verified=True,
        session_id=stored.id,
    )


def _find_valid(token_id: UUID, token: str) -> ServiceToken:
    stored = ServiceToken.get_or_none(ServiceToken.id == token_id)
    if stored is None or not is_refresh_token(token, stored.token_hash):
        raise InvalidRefreshToken()
    if stored.revoked_at or stored.expires_at <= now():
        raise InvalidRefreshToken()
    return stored


def _current_scopes(stored: ServiceToken) -> list[str]:
    account = catalogue().get(stored.account)
    scopes = sorted(set(stored.scopes) & set(account.scopes)) if account else []
    if not scopes:
        raise InvalidRefreshToken("The service account is not defined any more.")
    return scopes


def purge(days: int = 30) -> int:
    """Delete tokens that ended more than `days` ago; returns how many."""
    before = now() - timedelta(days=days)
    ended = (ServiceToken.expires_at < before) | (ServiceToken.revoked_at < before)
    deleted: int = ServiceToken.delete().where(ended).execute()
    return deleted
