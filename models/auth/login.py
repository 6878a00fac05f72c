"""Signing in and out: from a password or a refresh token to a pair of tokens, and back to none."""

import hmac
import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from models.auth import operators, password_login, service_accounts
from models.auth.key_file import TokenInvalid, keyset
from models.auth.sessions import RefreshToken, Session, SessionNotFound
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
from models.auth.users import Membership, User
from models.platform import audit, limits
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.errors import BadRequest, Forbidden, NotAuthenticated
from models.platform.ids import parse_uuid, uuid7
from models.platform.principal import Principal, scopes_for
from models.platform.settings import settings

log = logging.getLogger(__name__)


class InvalidTenant(NotAuthenticated):
    code, message = "invalid_tenant", "Invalid tenant identifier supplied."


class NotAMember(NotAuthenticated):
    code, message = "not_a_member", "User is not a member of the requested tenant."


class TenantRequired(BadRequest):
    code, message = "tenant_required", "Tenant context required for multi-tenant users."


class LogoutRefused(Forbidden):
    code = "invalid_refresh_token"


class SignIn:
    """The two ways to get tokens."""

    @staticmethod
    def with_password(
        email: str, password: str, tenant_id: str | None = None, *, origin: ClientInfo = UNKNOWN_CLIENT
    ) -> IssuedTokens:
        user = password_login.authenticate(email, password, origin=origin)
        membership = _membership(user, tenant_id)
        user.require_active()
        with transaction():
            password_login.hold(user)  # whoever changes it now ends this session too
            return SignIn.open(user, membership, origin)

    @staticmethod
    @in_transaction
    def open(user: User, membership: Membership, origin: ClientInfo) -> IssuedTokens:
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
        return _issue(user, membership, session)

    @staticmethod
    def with_refresh_token(token: str, *, origin: ClientInfo = UNKNOWN_CLIENT) -> IssuedTokens:
        """Exchange a refresh token, once. One that comes back after its exchange was stolen: its session ends.

        The refresh token of a service account is good until it expires or is revoked.
        """
        claims = _refresh_claims(token)
        limits.hit("refresh", settings.auth_refresh_rate_limit_per_minute, 60, claims.get("sid") or claims["jti"])
        if service_accounts.is_subject(claims["sub"]):
            return service_accounts.exchange(claims, token, origin=origin)
        with transaction():
            session, row = _locked(parse_uuid(claims["jti"]), token)
            if not (row.revoked_reason == "rotated" and session.revoked_at is None):
                return _rotate(session, row, origin)
            Session.revoke(Session.id == session.id, "refresh_token_reuse")
            audit.record(
                "auth.refresh_token_reused",
                f"user:{session.user_id}",
                f"session:{session.id}",
                tenant_id=session.tenant_id,
                origin=origin,
            )
        log.warning("auth.refresh_token_reuse", extra={"session_id": str(session.id), "user_id": str(session.user_id)})
        raise RefreshRefused()


def _locked(jti: UUID, token: str) -> tuple[Session, RefreshToken]:
    """The session first, then its token: the order in which ending a session locks them."""
    known = RefreshToken.get_or_none(RefreshToken.id == jti)
    session = Session.lock(known.session_id) if known else None
    row = RefreshToken.lock(jti) if session else None
    if row is None or not hmac.compare_digest(row.token_hash, hash_token(token)):
        raise RefreshRefused()
    return session, row


def _rotate(session: Session, row: RefreshToken, origin: ClientInfo) -> IssuedTokens:
    """The account is looked at first: who is refused for it keeps the token."""
    if row.revoked_at or session.revoked_at or row.expires_at <= now():
        raise RefreshRefused()
    user, membership = _still_member(session)
    RefreshToken.update(revoked_at=now(), revoked_reason="rotated").where(RefreshToken.id == row.id).execute()
    seen: dict[str, Any] = {"last_seen_at": now()}
    if origin.masked:
        seen |= {"ip_masked": origin.masked, "fingerprint": origin.fingerprint}
    if place := origin.location():
        seen["location"] = place
    Session.update(**seen).where(Session.id == session.id).execute()
    return _issue(user, membership, session)


class SignOut:
    """The ways to end sessions by one's own hand. Each answers how many refresh tokens it ended."""

    @staticmethod
    def this(principal: Principal, token: str, *, origin: ClientInfo = UNKNOWN_CLIENT) -> int:
        """End the session of a refresh token, which may have expired. 0 when it had ended already."""
        claims = _own_refresh_claims(principal, token)
        with transaction():
            row = RefreshToken.get_or_none(RefreshToken.id == parse_uuid(claims["jti"]))
            if row is None:
                return 0
            if row.user_id != principal.user_id:
                raise LogoutRefused("Refresh token ownership mismatch.")
            ended, _ = Session.revoke(Session.id == row.session_id, "user_logout")
            _record_ended("auth.signed_out", principal, ended, origin)
            return len(ended)

    @staticmethod
    def everywhere(
        principal: Principal, *, origin: ClientInfo = UNKNOWN_CLIENT, reason: str = "user_logout_all"
    ) -> int:
        with transaction():
            ended, tokens = Session.revoke(Session.user == principal.user_id, reason)
            _record_ended("auth.signed_out", principal, ended, origin)
            return tokens

    @staticmethod
    def one(principal: Principal, session_id: UUID, *, origin: ClientInfo = UNKNOWN_CLIENT) -> None:
        """End one of the caller's own sessions, by its id."""
        with transaction():
            mine = (Session.id == session_id) & (Session.user == principal.user_id)
            ended, _ = Session.revoke(mine, "user_session_manual_revoke")
            if not ended:
                raise SessionNotFound()
            _record_ended("auth.signed_out", principal, ended, origin)


def _record_ended(action: str, principal: Principal, ended: list[UUID], origin: ClientInfo) -> None:
    for session_id in ended:
        audit.record(action, principal, f"session:{session_id}", origin=origin)


def _own_refresh_claims(principal: Principal, token: str) -> dict[str, Any]:
    try:
        claims = _refresh_claims(token, check_expiry=False)
    except RefreshRefused as error:
        raise LogoutRefused(error.message) from None
    if claims["sub"] != principal.subject:
        raise LogoutRefused("Refresh token does not belong to the authenticated user.")
    return claims


def _refresh_claims(token: str, *, check_expiry: bool = True) -> dict[str, Any]:
    try:
        claims = keyset().verify(token, check_expiry=check_expiry)
    except TokenInvalid:
        raise RefreshRefused("Refresh token verification failed.") from None
    if claims.get("token_use") != "refresh":
        raise RefreshRefused("Token is not a refresh token.")
    if not str(claims["sub"]).startswith("user:") and not service_accounts.is_subject(claims["sub"]):
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


@in_transaction
def _issue(user: User, membership: Membership, session: Session) -> IssuedTokens:
    """Sign a pair of tokens and store the refresh token's hash, in the caller's transaction."""
    subject, jti = f"user:{user.id}", uuid7()
    scopes = sorted({*scopes_for(membership.role), *operators.scopes_of(user.id)})
    last = session.created_at + timedelta(days=settings.auth_session_max_days)
    refresh_expires = min(whole_seconds() + timedelta(minutes=settings.auth_refresh_token_ttl_minutes), last)
    known = {"tenant_id": str(membership.tenant_id), "email_verified": user.email_verified_at is not None}
    access, expires = sign_access(subject, session.id, scopes, refresh_expires, roles=[membership.role], **known)
    refresh = sign(subject, REFRESH, jti, scopes, refresh_expires, sid=str(session.id), account=subject, **known)
    RefreshToken.create(
        id=jti, session=session.id, user_id=user.id, token_hash=hash_token(refresh), expires_at=refresh_expires
    )
    return IssuedTokens(
        access_token=access,
        refresh_token=refresh,
        expires_at=expires,
        refresh_expires_at=refresh_expires,
        kid=kid_of(access),
        refresh_kid=kid_of(refresh),
        scopes=scopes,
        tenant_id=known["tenant_id"],
        user_id=str(user.id),
        email_verified=known["email_verified"],
        session_id=session.id,
    )
