"""Signing a pair of tokens; what is stored of one is its keyed hash."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

from models.auth.key_file import keyset
from models.platform.clock import now
from models.platform.errors import DomainError
from models.platform.ids import uuid7
from models.platform.settings import settings

ACCESS, REFRESH = "access", "refresh"


class RefreshRefused(DomainError):
    status, code, message = 401, "invalid_refresh_token", "Refresh token has been revoked or expired."


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


def sign_access(
    subject: str, session_id: UUID, scopes: list[str], not_after: datetime, **claims: Any
) -> tuple[str, datetime]:
    """(access token, its expiry): never later than that of the refresh token that it comes with."""
    expires = min(whole_seconds() + timedelta(minutes=settings.access_token_expire_minutes), not_after)
    audience = settings.items(settings.auth_audience)
    token = sign(subject, ACCESS, uuid7(), scopes, expires, sid=str(session_id), aud=audience, **claims)
    return token, expires


def sign(subject: str, use: str, jti: UUID, scopes: list[str], expires: datetime, **claims: Any) -> str:
    moment = whole_seconds()
    return keyset().sign(
        {
            "sub": subject,
            "token_use": use,
            "jti": str(jti),
            "scope": " ".join(scopes),
            "iss": settings.app_name,
            "iat": moment,
            "nbf": moment,
            "exp": expires,
            **claims,
        }
    )


def kid_of(token: str) -> str:
    """The key that signed a token of ours."""
    return jwt.get_unverified_header(token)["kid"]


def whole_seconds() -> datetime:
    """Now, as tokens can tell it."""
    return now().replace(microsecond=0)


def hash_token(token: str) -> str:
    return hmac.new(settings.secret_key.get_secret_value().encode(), token.encode(), hashlib.sha256).hexdigest()
