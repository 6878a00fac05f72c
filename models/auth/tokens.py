"""Signed tokens: JWTs for access and refresh, of users and of service accounts."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

from models.auth.key_file import keyset
from models.auth.signing_keys import InvalidToken
from models.platform.clock import now
from models.platform.digests import is_hex_digest, keyed_hex_digest
from models.platform.errors import DomainError
from models.platform.ids import parse_uuid, uuid7
from models.platform.settings import settings

ACCESS, REFRESH = "access", "refresh"
USER_SUBJECT, SERVICE_ACCOUNT_SUBJECT = "user:", "service-account:"


class InvalidRefreshToken(DomainError):
    status, code, message = 401, "invalid_refresh_token", "Refresh token has been revoked or expired."


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """A pair of tokens for a user or a service account. `user_id` is the user's id, or `service-account:<name>`."""

    access_token: str
    refresh_token: str
    expires_at: datetime
    refresh_expires_at: datetime
    kid: str
    refresh_kid: str
    scopes: list[str]
    tenant_id: UUID | None
    user_id: str
    email_verified: bool
    session_id: UUID
    token_type: str = "bearer"


@dataclass(frozen=True, slots=True)
class RefreshClaims:
    """What a refresh token with a valid signature says. The database decides whether it may still be used."""

    subject: str
    jti: UUID
    session_id: str | None

    @property
    def is_service_account(self) -> bool:
        return self.subject.startswith(SERVICE_ACCOUNT_SUBJECT)


def sign_access_token(
    subject: str, session_id: UUID, scopes: list[str], not_after: datetime, **claims: Any
) -> tuple[str, datetime]:
    """(access token, its expiry). It never outlives `not_after`, the expiry of the refresh token it belongs to."""
    expires = min(now_in_seconds() + timedelta(minutes=settings.access_token_expire_minutes), not_after)
    audience = settings.items(settings.auth_audience)
    token = sign(subject, ACCESS, uuid7(), scopes, expires, sid=str(session_id), aud=audience, **claims)
    return token, expires


def sign(subject: str, token_use: str, jti: UUID, scopes: list[str], expires: datetime, **claims: Any) -> str:
    """A JWT signed with the active key. `claims` are added to the standard ones."""
    moment = now_in_seconds()
    return keyset().sign(
        {
            "sub": subject,
            "token_use": token_use,
            "jti": str(jti),
            "scope": " ".join(scopes),
            "iss": settings.app_name,
            "iat": moment,
            "nbf": moment,
            "exp": expires,
            **claims,
        }
    )


def read_refresh_token(token: str, *, check_expiry: bool = True) -> RefreshClaims:
    """The claims of a refresh token that one of our keys signed. Raises InvalidRefreshToken."""
    try:
        claims = keyset().verify(token, check_expiry=check_expiry)
    except InvalidToken:
        raise InvalidRefreshToken("Refresh token verification failed.") from None
    if claims.get("token_use") != REFRESH:
        raise InvalidRefreshToken("Token is not a refresh token.")
    subject = str(claims["sub"])
    if not subject.startswith((USER_SUBJECT, SERVICE_ACCOUNT_SUBJECT)):
        raise InvalidRefreshToken("Refresh token subject is malformed.")
    jti = parse_uuid(claims.get("jti"))
    if jti is None:
        raise InvalidRefreshToken("Refresh token missing jti claim.")
    return RefreshClaims(subject, jti, claims.get("sid"))


def hash_refresh_token(token: str) -> str:
    """What the database stores of a refresh token."""
    return keyed_hex_digest("refresh-token", token)


def is_refresh_token(token: str, token_hash: str) -> bool:
    """Whether this token is the one that was stored as `token_hash`."""
    return is_hex_digest(token_hash, "refresh-token", token)


def key_id_of(token: str) -> str:
    """The id of the key that signed one of our own tokens. Verifies nothing."""
    return str(jwt.get_unverified_header(token)["kid"])


def now_in_seconds() -> datetime:
    """The current time without a fraction: JWT times are whole seconds."""
    return now().replace(microsecond=0)
