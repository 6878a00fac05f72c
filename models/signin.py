"""Signing in and out: from a password or a refresh token to a pair of tokens, and back to none."""

import hashlib
import hmac
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models import audit, credentials
from models.accounts import Membership, User
from models.base import now, parse_uuid, transaction, uuid7
from models.errors import BadRequest, DomainError, Forbidden, NotAuthenticated
from models.keys import TokenInvalid, keyset
from models.origin import NOWHERE, Origin
from models.principal import Principal, scopes_for
from models.sessions import RefreshToken, Session, SessionNotFound
from models.settings import settings

log = logging.getLogger(__name__)


class InvalidTenant(NotAuthenticated):
    code, message = "invalid_tenant", "Invalid tenant identifier supplied."


class NotAMember(NotAuthenticated):
    code, message = "not_a_member", "User is not a member of the requested tenant."


class TenantRequired(BadRequest):
    code, message = "tenant_required", "Tenant context required for multi-tenant users."


class RefreshRefused(DomainError):
    status, code, message = 401, "invalid_refresh_token", "Refresh token has been revoked or expired."


class LogoutRefused(Forbidden):
    code = "invalid_refresh_token"


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
        email: str, password: str, tenant_id: str | None = None, *, origin: Origin = NOWHERE
    ) -> IssuedTokens:
        user = credentials.authenticate(email, password, origin=origin)
        membership = _membership(user, tenant_id)
        user.require_active()
        with transaction():
            return SignIn.open(user, membership, origin)

    @staticmethod
    def open(user: User, membership: Membership, origin: Origin) -> IssuedTokens:
        """In the caller's transaction: a new session of somebody who has proved who they are."""
        session = Session.create(
            user=user.id,
            tenant=membership.tenant_id,
            user_agent=origin.agent,
            ip_masked=origin.masked,
            fingerprint=origin.fingerprint,
            location=origin.location(),
        )
        audit.record(
            "auth.signed_in",
            f"user:{user.id}",
            f"session:{session.id}",
            tenant_id=membership.tenant_id,
            origin=origin,
        )
        return _issue(user, membership, session.id)

    @staticmethod
    def with_refresh_token(token: str, *, origin: Origin = NOWHERE) -> IssuedTokens:
        """Exchange a refresh token, once. One that comes back after its exchange was stolen: its session ends."""
        claims = _refresh_claims(token)
        with transaction():
            row = RefreshToken.lock(parse_uuid(claims["jti"]))
            if row is None or not hmac.compare_digest(row.token_hash, _hash_token(token)):
                raise RefreshRefused()
            session = Session.lock(row.session_id)
            reused = row.revoked_at is not None and row.revoked_reason == "rotated" and session.revoked_at is None
            if reused:
                Session.revoke(Session.id == session.id, "refresh_token_reuse")
                audit.record(
                    "auth.refresh_token_reused",
                    f"user:{session.user_id}",
                    f"session:{session.id}",
                    tenant_id=session.tenant_id,
                    origin=origin,
                )
            else:
                if row.revoked_at or session.revoked_at or row.expires_at <= now():
                    raise RefreshRefused()
                user, membership = _still_member(session)
                RefreshToken.update(revoked_at=now(), revoked_reason="rotated").where(
                    RefreshToken.id == row.id
                ).execute()
                seen: dict[str, Any] = {"last_seen_at": now()}
                if origin.masked:
                    seen |= {"ip_masked": origin.masked, "fingerprint": origin.fingerprint}
                if place := origin.location():
                    seen["location"] = place
                Session.update(**seen).where(Session.id == session.id).execute()
                return _issue(user, membership, session.id)
        log.warning("auth.refresh_token_reuse", extra={"session_id": str(session.id), "user_id": str(session.user_id)})
        raise RefreshRefused()


class SignOut:
    """The ways to end sessions by one's own hand. Each answers how many refresh tokens it ended."""

    @staticmethod
    def this(principal: Principal, token: str, *, origin: Origin = NOWHERE) -> int:
        """End the session of a refresh token, which may have expired. 0 when it had ended already."""
        claims = _own_refresh_claims(principal, token)
        with transaction():
            row = RefreshToken.lock(parse_uuid(claims["jti"]))
            if row is None:
                return 0
            if row.user_id != principal.user_id:
                raise LogoutRefused("Refresh token ownership mismatch.")
            ended, _ = Session.revoke(Session.id == row.session_id, "user_logout")
            _record_ended("auth.signed_out", principal, ended, origin)
            return len(ended)

    @staticmethod
    def everywhere(principal: Principal, *, origin: Origin = NOWHERE, reason: str = "user_logout_all") -> int:
        with transaction():
            ended, tokens = Session.revoke(Session.user == principal.user_id, reason)
            _record_ended("auth.signed_out", principal, ended, origin)
            return tokens

    @staticmethod
    def one(principal: Principal, session_id: UUID | None, *, origin: Origin = NOWHERE) -> None:
        """End one of the caller's own sessions, by its id."""
        with transaction():
            mine = (Session.id == session_id) & (Session.user == principal.user_id)
            ended, _ = Session.revoke(mine, "user_session_manual_revoke")
            if not ended:
                raise SessionNotFound()
            _record_ended("auth.signed_out", principal, ended, origin)


def _record_ended(action: str, principal: Principal, ended: list[UUID], origin: Origin) -> None:
    for session_id in ended:
        audit.record(action, principal, f"session:{session_id}", origin=origin)


def _own_refresh_claims(principal: Principal, token: str) -> dict[str, Any]:
    try:
        claims = _refresh_claims(token, check_expiry=False)
    except RefreshRefused as error:
        raise LogoutRefused(error.message) from None
    if claims["sub"] != f"user:{principal.user_id}":
        raise LogoutRefused("Refresh token does not belong to the authenticated user.")
    return claims


def _refresh_claims(token: str, *, check_expiry: bool = True) -> dict[str, Any]:
    try:
        claims = keyset().verify(token, check_expiry=check_expiry)
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


def _hash_token(token: str) -> str:
    return hmac.new(settings.secret_key.get_secret_value().encode(), token.encode(), hashlib.sha256).hexdigest()
