"""Exchanging a refresh token for new tokens."""

import logging
from typing import Any
from uuid import UUID

from models.auth import refresh_successors, service_tokens
from models.auth.session_tokens import issue_tokens
from models.auth.sessions import RefreshToken, Session
from models.auth.tokens import InvalidRefreshToken, IssuedTokens, is_refresh_token, read_refresh_token
from models.auth.users import Membership, User
from models.platform import audit, limits
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.settings import settings

log = logging.getLogger(__name__)
ROTATED = "rotated"


def refresh(token: str, *, client: ClientInfo = UNKNOWN_CLIENT) -> IssuedTokens:
    """New tokens for a refresh token. Raises InvalidRefreshToken, QuotaExceeded, or what `Membership.for_session` raises.

    A user's refresh token works once. For AUTH_REFRESH_GRACE_SECONDS it is answered with the same tokens again: two tabs
    may send it at once. If it is used after that, somebody has copied it, and the session ends.
    A service account's refresh token works until it expires or is revoked, and is returned unchanged.
    """
    claims = read_refresh_token(token)
    limits.hit("refresh", settings.auth_refresh_rate_limit_per_minute, 60, claims.session_id or claims.jti)
    if claims.is_service_account:
        return service_tokens.exchange(claims.jti, token)
    with transaction():
        session, refresh_token = _lock_session_and_token(claims.jti, token)
        if session.revoked_at:
            raise InvalidRefreshToken()
        if refresh_token.revoked_reason != ROTATED:
            return _rotate(session, refresh_token, token, client)
        if issued := _newest_successor(token, refresh_token):
            _require_allowed(session)
            return issued
        _end_stolen_session(session, client)
    log.warning("auth.refresh_token_reuse", extra={"session_id": str(session.id), "user_id": str(session.user_id)})
    raise InvalidRefreshToken()


def _lock_session_and_token(jti: UUID, token: str) -> tuple[Session, RefreshToken]:
    """The session is locked first: `Session.revoke` locks in that order too, so neither can deadlock the other."""
    unlocked = RefreshToken.get_or_none(RefreshToken.id == jti)
    session = Session.lock(unlocked.session_id) if unlocked else None
    refresh_token = RefreshToken.lock(jti) if session else None
    if session is None or refresh_token is None:
        raise InvalidRefreshToken()
    if not is_refresh_token(token, refresh_token.token_hash):
        raise InvalidRefreshToken()
    return session, refresh_token


@in_transaction
def _newest_successor(token: str, refresh_token: RefreshToken) -> IssuedTokens | None:
    """The tokens that were issued for this one; if their refresh token has been used meanwhile, those issued for it."""
    issued = refresh_successors.of(token, refresh_token)
    while issued:
        following = RefreshToken.get_or_none(RefreshToken.id == read_refresh_token(issued.refresh_token).jti)
        if following is None or following.revoked_reason != ROTATED:
            return issued
        issued = refresh_successors.of(issued.refresh_token, following)
    return None


@in_transaction
def _rotate(session: Session, refresh_token: RefreshToken, token: str, client: ClientInfo) -> IssuedTokens:
    """The account is checked before the token is used up: a user who is refused can try again with the same token."""
    if refresh_token.revoked_at or min(refresh_token.expires_at, session.ends_at) <= now():
        raise InvalidRefreshToken()
    user, membership = _require_allowed(session)
    used_up = {"revoked_at": now(), "revoked_reason": ROTATED}
    RefreshToken.update(**used_up).where(RefreshToken.id == refresh_token.id).execute()
    _record_use(session, client)
    issued = issue_tokens(user, membership, session)
    refresh_successors.keep(token, refresh_token, issued)
    return issued


def _require_allowed(session: Session) -> tuple[User, Membership]:
    """The session's user and membership. Raises InvalidRefreshToken, or what `Membership.for_session` raises."""
    user = User.get_or_none(User.id == session.user_id)
    if user is None:
        raise InvalidRefreshToken("Unknown user.")
    membership = Membership.for_session(user.id, session.tenant_id)
    user.require_active()
    return user, membership


def _record_use(session: Session, client: ClientInfo) -> None:
    columns: dict[str, Any] = {"last_seen_at": now()}
    if client.masked:
        columns |= {"ip_masked": client.masked, "fingerprint": client.fingerprint}
    if location := client.location():
        columns["location"] = location
    Session.update(**columns).where(Session.id == session.id).execute()


@in_transaction
def _end_stolen_session(session: Session, client: ClientInfo) -> None:
    Session.revoke(Session.id == session.id, "refresh_token_reuse")
    audit.record(
        "auth.refresh_token_reused",
        f"user:{session.user_id}",
        f"session:{session.id}",
        tenant_id=session.tenant_id,
        client=client,
    )
