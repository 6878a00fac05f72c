"""Tenants, users, memberships, and signing in: sessions and the refresh tokens that keep them alive."""

import hashlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from peewee import CharField, ForeignKeyField, TextField, UUIDField, fn

from models.base import DateTimeTZField, Model, now, parse_uuid, release, transaction, uuid7
from models.errors import BadRequest, DomainError, Forbidden, Locked, NotAuthenticated
from models.keys import TokenInvalid, keyset
from models.principal import scopes_for
from models.settings import settings

log = logging.getLogger(__name__)
offload: Callable[..., Any] = lambda function, *args: function(*args)  # noqa: E731  the edge sends hashing to a thread


class InvalidCredentials(NotAuthenticated):
    code, message = "invalid_credentials", "Invalid email or password."


class InvalidTenant(NotAuthenticated):
    code, message = "invalid_tenant", "Invalid tenant identifier supplied."


class NotAMember(NotAuthenticated):
    code, message = "not_a_member", "User is not a member of the requested tenant."


class TenantRequired(BadRequest):
    code, message = "tenant_required", "Tenant context required for multi-tenant users."


class AccountNotActive(Forbidden):
    code = "account_not_active"


class RefreshRefused(DomainError):
    status, code, message = 401, "invalid_refresh_token", "Refresh token has been revoked or expired."


class Tenant(Model):
    slug = CharField(unique=True)
    name = CharField()


class User(Model):
    email = CharField()
    password_hash = TextField()
    status = CharField(default="active")
    display_name = CharField(null=True)
    email_verified_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "users"

    @classmethod
    def by_email(cls, email: str) -> "User | None":
        return cls.get_or_none(fn.lower(cls.email) == email.strip().lower())

    @classmethod
    def register(
        cls,
        email: str,
        password: str,
        *,
        tenant: Tenant,
        role: str = "member",
        verified: bool = False,
        display_name: str | None = None,
    ) -> "User":
        user = cls.create(
            email=email.strip().lower(),
            password_hash=hash_password(password),
            display_name=display_name,
            email_verified_at=now() if verified else None,
        )
        Membership.create(user=user.id, tenant=tenant.id, role=role)
        return user

    def require_active(self) -> None:
        if self.status == "locked":
            raise Locked()
        if self.status != "active":
            raise AccountNotActive(f"User is {self.status}.")


class Membership(Model):
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    tenant = ForeignKeyField(Tenant, on_delete="CASCADE", lazy_load=False)
    role = CharField()


class Session(Model):
    """One sign-in on one device; its id is the tokens' `sid`."""

    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    tenant = ForeignKeyField(Tenant, on_delete="CASCADE", lazy_load=False)
    user_agent = CharField(max_length=512, null=True)
    last_seen_at = DateTimeTZField(default=now)
    revoked_at = DateTimeTZField(null=True)
    revoked_reason = CharField(null=True)

    def revoke(self, reason: str) -> None:
        moment = now()
        for table, mine in ((Session, Session.id == self.id), (RefreshToken, RefreshToken.session == self.id)):
            table.update(revoked_at=moment, revoked_reason=reason).where(mine & table.revoked_at.is_null()).execute()


class RefreshToken(Model):
    """`id` is the token's jti. The token itself is never stored, only its hash."""

    session = ForeignKeyField(Session, on_delete="CASCADE", lazy_load=False)
    token_hash = CharField()
    expires_at = DateTimeTZField()
    revoked_at = DateTimeTZField(null=True)
    revoked_reason = CharField(null=True)
    user_id = UUIDField()


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """What a sign-in or a refresh answers (contract: UserSessionResponse)."""

    access_token: str
    refresh_token: str
    expires_at: datetime
    refresh_expires_at: datetime
    kid: str
    refresh_kid: str
    scopes: list[str]
    tenant_id: str
    user_id: str
    email_verified: bool
    session_id: UUID
    token_type: str = "bearer"


class SignIn:
    """The two ways to get tokens."""

    @staticmethod
    def with_password(
        email: str, password: str, tenant_id: str | None = None, *, ip: str | None = None, user_agent: str | None = None
    ) -> IssuedTokens:
        """Nothing about an account is told before its password was right, and a wrong one costs as much as none."""
        user = User.by_email(email)
        release()  # hashing takes its time; others may use the connection meanwhile
        right = offload(verify_password, user.password_hash if user else _dummy_hash(), password)
        if user is None or not right:
            log.info("auth.login_failed", extra={"client_ip": ip})
            raise InvalidCredentials()
        membership = _membership(user, tenant_id)
        user.require_active()
        with transaction():
            session = Session.create(
                user=user.id,
                tenant=membership.tenant_id,
                user_agent=(user_agent or "")[:512] or None,
            )
            return _issue(user, membership, session.id)

    @staticmethod
    def with_refresh_token(token: str) -> IssuedTokens:
        """Exchange a refresh token, once. One that comes back after its exchange was stolen: its session ends."""
        claims = _refresh_claims(token)
        with transaction():
            row = RefreshToken.lock(parse_uuid(claims["jti"]))
            if row is None or not hmac.compare_digest(row.token_hash, _hash_token(token)):
                raise RefreshRefused()
            session = Session.lock(row.session_id)
            reused = row.revoked_at is not None and row.revoked_reason == "rotated" and session.revoked_at is None
            if reused:
                session.revoke("refresh_token_reuse")
            else:
                if row.revoked_at or session.revoked_at or row.expires_at <= now():
                    raise RefreshRefused()
                user, membership = _still_member(session)
                RefreshToken.update(revoked_at=now(), revoked_reason="rotated").where(
                    RefreshToken.id == row.id
                ).execute()
                Session.update(last_seen_at=now()).where(Session.id == session.id).execute()
                return _issue(user, membership, session.id)
        log.warning("auth.refresh_token_reuse", extra={"session_id": str(session.id), "user_id": str(session.user_id)})
        raise RefreshRefused()


def _refresh_claims(token: str) -> dict[str, Any]:
    try:
        claims = keyset().verify(token)
    except TokenInvalid:
        raise RefreshRefused("Refresh token verification failed.") from None
    if claims.get("token_use") != "refresh":
        raise RefreshRefused("Token is not a refresh token.")
    if not str(claims["sub"]).startswith("user:"):
        raise RefreshRefused("Refresh token subject is malformed.")
    if parse_uuid(claims.get("jti")) is None:
        raise RefreshRefused("Refresh token missing jti claim.")
    return claims


def _still_member(session: Session) -> tuple[User, Membership]:
    user = User.get_or_none(User.id == session.user_id)
    if user is None:
        raise RefreshRefused("Unknown user.")
    membership = _membership(user, str(session.tenant_id))
    user.require_active()
    return user, membership


def _membership(user: User, tenant_id: str | None) -> Membership:
    held = list(Membership.select().where(Membership.user == user.id))
    if tenant_id:
        wanted = parse_uuid(tenant_id)
        if wanted is None:
            raise InvalidTenant()
        held = [one for one in held if one.tenant_id == wanted]
        if not held:
            raise NotAMember()
    if not held:
        raise NotAMember("User is not assigned to any tenant.")
    if len(held) > 1:
        raise TenantRequired(details={"tenants": sorted(str(one.tenant_id) for one in held)})
    return held[0]


def _issue(user: User, membership: Membership, session_id: UUID) -> IssuedTokens:
    """Sign a pair of tokens and store the refresh token's hash, in the caller's transaction."""
    moment, keys, jti = now().replace(microsecond=0), keyset(), uuid7()
    scopes, verified = scopes_for(membership.role), user.email_verified_at is not None
    common = {
        "sub": f"user:{user.id}",
        "tenant_id": str(membership.tenant_id),
        "scope": " ".join(scopes),
        "iss": settings.app_name,
        "email_verified": verified,
        "sid": str(session_id),
        "iat": moment,
        "nbf": moment,
    }
    expires = moment + timedelta(minutes=settings.access_token_expire_minutes)
    refresh_expires = moment + timedelta(minutes=settings.auth_refresh_token_ttl_minutes)
    access = keys.sign(
        {
            **common,
            "roles": [membership.role],
            "token_use": "access",
            "jti": str(uuid7()),
            "aud": settings.items(settings.auth_audience),
            "exp": expires,
        }
    )
    refresh = keys.sign(
        {**common, "token_use": "refresh", "account": common["sub"], "jti": str(jti), "exp": refresh_expires}
    )
    RefreshToken.create(
        id=jti, session=session_id, user_id=user.id, token_hash=_hash_token(refresh), expires_at=refresh_expires
    )
    return IssuedTokens(
        access,
        refresh,
        expires,
        refresh_expires,
        keys.active.kid,
        keys.active.kid,
        scopes,
        str(membership.tenant_id),
        str(user.id),
        verified,
        session_id,
    )


def purge_sessions(days: int = 30) -> int:
    """Drop refresh tokens, and sessions left without any, that ended more than `days` ago."""
    old = now() - timedelta(days=days)
    dropped = RefreshToken.delete().where((RefreshToken.expires_at < old) | (RefreshToken.revoked_at < old)).execute()
    alive = RefreshToken.select(RefreshToken.session)
    Session.delete().where((Session.last_seen_at < old) & Session.id.not_in(alive)).execute()
    return dropped


def hash_password(password: str) -> str:
    return _hasher().hash(password)


def verify_password(stored: str, password: str) -> bool:
    try:
        return _hasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()  # argon2id with the library's parameters (RFC 9106, low memory)


@cache
def _dummy_hash() -> str:
    return _hasher().hash("no account has this password")


def _hash_token(token: str) -> str:
    return hmac.new(settings.secret_key.get_secret_value().encode(), token.encode(), hashlib.sha256).hexdigest()
