"""Opening a session, and signing the pair of tokens that belongs to it."""

from datetime import timedelta
from typing import Any

from models.auth import operators
from models.auth.authority import Authority
from models.auth.sessions import RefreshToken, Session
from models.auth.tokens import (
    REFRESH,
    IssuedTokens,
    hash_refresh_token,
    key_id_of,
    now_in_seconds,
    sign,
    sign_access_token,
)
from models.auth.users import Membership, User
from models.platform import audit
from models.platform.client_info import ClientInfo
from models.platform.database import in_transaction
from models.platform.ids import uuid7
from models.platform.settings import settings


@in_transaction
def open_session(user: User, membership: Membership, client: ClientInfo) -> IssuedTokens:
    """A new session for a user who has proved their identity."""
    session = Session.create(
        user_id=user.id,
        tenant_id=membership.tenant_id,
        user_agent=client.agent,
        ip_masked=client.masked,
        fingerprint=client.fingerprint,
        location=client.location(),
    )
    actor, subject = f"user:{user.id}", f"session:{session.id}"
    audit.record("auth.signed_in", actor, subject, tenant_id=membership.tenant_id, client=client)
    return issue_tokens(user, membership, session)


@in_transaction
def issue_tokens(user: User, membership: Membership, session: Session) -> IssuedTokens:
    """Sign an access and a refresh token for the session, and store the refresh token's hash.

    Role, scopes and address are in the tokens for clients to read. Requests are decided by `authority.principal_of`.
    """
    subject, jti = f"user:{user.id}", uuid7()
    verified = user.email_verified_at is not None
    scopes = sorted(Authority.of_member(membership.role, operators.scopes_of(user.id), email_verified=verified).scopes)
    refresh_end = min(now_in_seconds() + timedelta(minutes=settings.auth_refresh_token_ttl_minutes), session.ends_at)
    claims: dict[str, Any] = {"tenant_id": str(membership.tenant_id), "email_verified": verified}
    access, access_end = sign_access_token(subject, session.id, scopes, refresh_end, roles=[membership.role], **claims)
    refresh = sign(subject, REFRESH, jti, scopes, refresh_end, sid=str(session.id), account=subject, **claims)
    token_hash = hash_refresh_token(refresh)
    RefreshToken.create(id=jti, session=session.id, user_id=user.id, token_hash=token_hash, expires_at=refresh_end)
    return IssuedTokens(
        access_token=access,
        refresh_token=refresh,
        expires_at=access_end,
        refresh_expires_at=refresh_end,
        kid=key_id_of(access),
        refresh_kid=key_id_of(refresh),
        scopes=scopes,
        tenant_id=membership.tenant_id,
        user_id=str(user.id),
        email_verified=verified,
        session_id=session.id,
    )
