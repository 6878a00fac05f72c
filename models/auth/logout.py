"""Ending one's own sessions."""

from uuid import UUID

from models.auth.sessions import RefreshToken, Session, SessionNotFound
from models.auth.tokens import InvalidRefreshToken, RefreshClaims, read_refresh_token
from models.platform import audit
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.database import in_transaction, transaction
from models.platform.errors import Forbidden
from models.platform.principal import Principal


class NotYourRefreshToken(Forbidden):
    code = "invalid_refresh_token"


def end_session_of_token(principal: Principal, refresh_token: str, *, client: ClientInfo = UNKNOWN_CLIENT) -> bool:
    """End the session of a refresh token, which may have expired. False if the session had ended already.

    Raises NotYourRefreshToken.
    """
    claims = _own_claims(principal, refresh_token)
    with transaction():
        stored = RefreshToken.get_or_none(RefreshToken.id == claims.jti)
        if stored is None:
            return False
        if stored.user_id != principal.user_id:
            raise NotYourRefreshToken("Refresh token ownership mismatch.")
        session_ids, _ = Session.revoke(Session.id == stored.session_id, "user_logout")
        _record(principal, session_ids, client)
        return bool(session_ids)


def end_session(principal: Principal, session_id: UUID, *, client: ClientInfo = UNKNOWN_CLIENT) -> None:
    """End one of the caller's own sessions. Raises SessionNotFound."""
    with transaction():
        own_session = (Session.id == session_id) & (Session.user_id == principal.user_id)
        session_ids, _ = Session.revoke(own_session, "user_session_manual_revoke")
        if not session_ids:
            raise SessionNotFound()
        _record(principal, session_ids, client)


def end_all_sessions(principal: Principal, *, client: ClientInfo = UNKNOWN_CLIENT) -> int:
    """End the caller's sessions in all tenants. Returns the number of refresh tokens revoked."""
    with transaction():
        session_ids, token_count = Session.revoke(Session.user_id == principal.user_id, "user_logout_all")
        _record(principal, session_ids, client)
        return token_count


@in_transaction
def _record(principal: Principal, session_ids: list[UUID], client: ClientInfo) -> None:
    for session_id in session_ids:
        audit.record("auth.signed_out", principal, f"session:{session_id}", client=client)


def _own_claims(principal: Principal, refresh_token: str) -> RefreshClaims:
    try:
        claims = read_refresh_token(refresh_token, check_expiry=False)
    except InvalidRefreshToken as error:
        raise NotYourRefreshToken(error.message) from None
    if claims.subject != principal.subject:
        raise NotYourRefreshToken("Refresh token does not belong to the authenticated user.")
    return claims
