"""Signing in: sessions, the refresh tokens that keep them alive, and whether an access token's session still is."""

import hashlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import redis
from peewee import CharField, ForeignKeyField, UUIDField, fn

from models import audit, progress
from models.accounts import Membership, Tenant, User
from models.base import BinaryJSONField, DateTimeTZField, Model, database, now, parse_uuid, release, transaction, uuid7
from models.errors import BadRequest, DomainError, Forbidden, NotAuthenticated, NotFound
from models.keys import TokenInvalid, keyset
from models.origin import NOWHERE, Origin
from models.passwords import dummy_hash, verify_password
from models.principal import Principal, scopes_for
from models.settings import settings

log = logging.getLogger(__name__)
# What Redis remembers of a session, key `session:<id>`. Revoking overwrites it at once; the life of ALIVE only bounds
# what a revocation made while Redis was away can miss.
ALIVE, ENDED, ALIVE_SECONDS = b"1", b"0", 60
offload: Callable[..., Any] = lambda function, *args: function(*args)  # noqa: E731  the edge sends hashing to a thread


class InvalidCredentials(NotAuthenticated):
    code, message = "invalid_credentials", "Invalid email or password."


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


class SessionNotFound(NotFound):
    code, message = "session_not_found", "Session not found or already revoked."


class Session(Model):
    """One sign-in on one device; its id is the tokens' `sid`."""

    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    tenant = ForeignKeyField(Tenant, on_delete="CASCADE", lazy_load=False)
    user_agent = CharField(max_length=512, null=True)
    ip_masked = CharField(null=True)
    fingerprint = CharField(null=True)
    location = BinaryJSONField(null=True)
    last_seen_at = DateTimeTZField(default=now)
    revoked_at = DateTimeTZField(null=True)
    revoked_reason = CharField(null=True)

    @classmethod
    def page(
        cls, user_id: UUID, *, limit: int, offset: int, tenant_id: UUID | None = None, include_revoked: bool = False
    ) -> tuple[list["Session"], int]:
        """(sessions, total) of a user, the last seen first. Without the revoked, also without those that have expired."""
        query = cls.select().where(cls.user == user_id)
        if tenant_id:
            query = query.where(cls.tenant == tenant_id)
        if not include_revoked:
            live = RefreshToken.select(RefreshToken.id).where(
                (RefreshToken.session == cls.id) & RefreshToken.revoked_at.is_null() & (RefreshToken.expires_at > now())
            )
            query = query.where(cls.revoked_at.is_null() & fn.exists(live))
        ordered = query.order_by(cls.last_seen_at.desc(), cls.created_at.desc(), cls.id.desc())
        return list(ordered.limit(limit).offset(offset)), query.count()

    @classmethod
    def revoke(cls, which: Any, reason: str) -> tuple[list[UUID], int]:
        """In the caller's transaction: end the sessions that match and are not ended, and their refresh tokens.

        Their access tokens are refused from the commit on. Answers (session ids, refresh tokens revoked).
        """
        moment = now()
        open_ = which & cls.revoked_at.is_null()
        rows = cls.update(revoked_at=moment, revoked_reason=reason).where(open_).returning(cls.id).tuples().execute()
        ended = [row[0] for row in rows]
        if not ended:
            return [], 0
        tokens = (
            RefreshToken.update(revoked_at=moment, revoked_reason=reason)
            .where(RefreshToken.session.in_(ended) & RefreshToken.revoked_at.is_null())
            .execute()
        )
        database.after_commit(lambda: _remember_ended(ended))
        log.info("auth.sessions_revoked", extra={"sessions": len(ended), "reason": reason})
        return ended, tokens

    @classmethod
    def is_alive(cls, session_id: UUID) -> bool:
        """Whether access tokens of this session are still good. From Redis, from Postgres when Redis does not know."""
        key = _state_key(session_id)
        try:
            known = progress.quick_client().get(key)
        except redis.RedisError as error:
            log.warning("auth.session_state_unavailable", extra={"reason": repr(error)})
            return cls._is_open(session_id)
        if known is not None:
            return known == ALIVE
        alive = cls._is_open(session_id)
        if alive:
            try:  # NX: a revocation that has come in between stays
                progress.quick_client().set(key, ALIVE, ex=ALIVE_SECONDS, nx=True)
            except redis.RedisError as error:
                log.warning("auth.session_state_unavailable", extra={"reason": repr(error)})
        return alive

    @classmethod
    def _is_open(cls, session_id: UUID) -> bool:
        return cls.select(cls.id).where((cls.id == session_id) & cls.revoked_at.is_null()).exists()


def _state_key(session_id: UUID) -> str:
    return f"session:{session_id}"


def _remember_ended(session_ids: list[UUID]) -> None:
    seconds = 60 * settings.access_token_expire_minutes + 60
    pipe = progress.quick_client().pipeline(transaction=False)
    for session_id in session_ids:
        pipe.set(_state_key(session_id), ENDED, ex=seconds)
    try:
        pipe.execute()
    except redis.RedisError as error:  # what was known of them as alive lapses within ALIVE_SECONDS
        log.warning("auth.session_state_unavailable", extra={"reason": repr(error)})


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
        email: str, password: str, tenant_id: str | None = None, *, origin: Origin = NOWHERE
    ) -> IssuedTokens:
        """Nothing about an account is told before its password was right, and a wrong one costs as much as none."""
        user = User.by_email(email)
        release()  # hashing takes its time; others may use the connection meanwhile
        right = offload(verify_password, user.password_hash if user else dummy_hash(), password)
        if user is None or not right:
            log.info("auth.login_failed", extra={"client_ip": origin.masked})
            raise InvalidCredentials()
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


def purge_sessions(days: int = 30) -> int:
    """Drop refresh tokens, and sessions left without any, that ended more than `days` ago."""
    old = now() - timedelta(days=days)
    dropped = RefreshToken.delete().where((RefreshToken.expires_at < old) | (RefreshToken.revoked_at < old)).execute()
    alive = RefreshToken.select(RefreshToken.session)
    Session.delete().where((Session.last_seen_at < old) & Session.id.not_in(alive)).execute()
    return dropped


def _hash_token(token: str) -> str:
    return hmac.new(settings.secret_key.get_secret_value().encode(), token.encode(), hashlib.sha256).hexdigest()
