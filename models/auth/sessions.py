"""Sessions, the refresh tokens that keep them alive, and whether an access token's session still is."""

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from peewee import CharField, ForeignKeyField, UUIDField, fn

from models.auth import session_cache
from models.auth.tenants import Tenant
from models.auth.users import User
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, Model

log = logging.getLogger(__name__)


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
    @in_transaction
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
        session_cache.end(ended)
        log.info("auth.sessions_revoked", extra={"sessions": len(ended), "reason": reason})
        return ended, tokens

    @classmethod
    def is_alive(cls, session_id: UUID) -> bool:
        """Whether access tokens of this session are still good."""
        return session_cache.is_alive(session_id, cls._is_open)

    @classmethod
    def _is_open(cls, session_id: UUID) -> bool:
        return cls.select(cls.id).where((cls.id == session_id) & cls.revoked_at.is_null()).exists()


class RefreshToken(Model):
    """`id` is the token's jti. The token itself is never stored, only its hash."""

    session = ForeignKeyField(Session, on_delete="CASCADE", lazy_load=False)
    token_hash = CharField()
    expires_at = DateTimeTZField()
    revoked_at = DateTimeTZField(null=True)
    revoked_reason = CharField(null=True)
    user_id = UUIDField()


def purge_sessions(days: int = 30) -> int:
    """Drop refresh tokens, and sessions left without any, that ended more than `days` ago."""
    old = now() - timedelta(days=days)
    dropped = RefreshToken.delete().where((RefreshToken.expires_at < old) | (RefreshToken.revoked_at < old)).execute()
    alive = RefreshToken.select(RefreshToken.session)
    Session.delete().where((Session.last_seen_at < old) & Session.id.not_in(alive)).execute()
    return dropped
