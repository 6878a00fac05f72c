"""Sessions, and the refresh tokens that keep them going."""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from peewee import BlobField, CharField, Expression, ForeignKeyField, UUIDField, fn

from models.auth import authority_cache
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, Model
from models.platform.paging import Page
from models.platform.settings import settings

log = logging.getLogger(__name__)


class SessionNotFound(NotFound):
    code, message = "session_not_found", "Session not found or already revoked."


class Session(Model):
    """One login on one device. Its id is the `sid` claim of the tokens."""

    user_id = UUIDField()
    tenant_id = UUIDField()
    user_agent = CharField(max_length=512, null=True)
    ip_masked = CharField(null=True)
    fingerprint = CharField(null=True)
    location: dict[str, str | None] | None = BinaryJSONField(null=True)
    last_seen_at = DateTimeTZField(default=now)
    revoked_at = DateTimeTZField(null=True)
    revoked_reason = CharField(null=True)

    @property
    def ends_at(self) -> datetime:
        """When the user has to sign in again, however often the session was refreshed."""
        return self.created_at + timedelta(days=settings.auth_session_max_days)

    @classmethod
    def page(
        cls,
        user_id: UUID | None,
        *,
        limit: int,
        offset: int,
        tenant_id: UUID | None = None,
        include_revoked: bool = False,
    ) -> "Page[Session]":
        """A user's sessions, last seen first. Without `include_revoked`, only those that can still be refreshed."""
        query = cls.select().where(cls.user_id == user_id)
        if tenant_id:
            query = query.where(cls.tenant_id == tenant_id)
        if not include_revoked:
            usable_tokens = RefreshToken.select(RefreshToken.id).where(
                (RefreshToken.session == cls.id) & RefreshToken.revoked_at.is_null() & (RefreshToken.expires_at > now())
            )
            query = query.where(cls.revoked_at.is_null() & fn.exists(usable_tokens))
        newest_first = (cls.last_seen_at.desc(), cls.created_at.desc(), cls.id.desc())
        return Page.of(query.order_by(*newest_first), limit=limit, offset=offset)

    @classmethod
    @in_transaction
    def revoke(cls, condition: Expression, reason: str) -> tuple[list[UUID], int]:
        """End the open sessions that match, with their refresh tokens; access tokens are refused after the commit.

        Returns (ids of the sessions ended, number of refresh tokens revoked).
        """
        moment = now()
        update = cls.update(revoked_at=moment, revoked_reason=reason).where(condition & cls.revoked_at.is_null())
        session_ids: list[UUID] = [session_id for (session_id,) in update.returning(cls.id).tuples().execute()]
        if not session_ids:
            return [], 0
        token_count: int = (
            RefreshToken.update(revoked_at=moment, revoked_reason=reason)
            .where(RefreshToken.session.in_(session_ids) & RefreshToken.revoked_at.is_null())
            .execute()
        )
        authority_cache.forget(session_ids)
        log.info("auth.sessions_revoked", extra={"sessions": len(session_ids), "reason": reason})
        return session_ids, token_count


class RefreshToken(Model):
    """`id` is the token's `jti` claim. Only the keyed hash of the token is stored.

    `successor`: the tokens that were issued when it was used, for a while; see `refresh_successors`.
    """

    session_id: UUID
    session = ForeignKeyField(Session, on_delete="CASCADE", lazy_load=False)
    token_hash = CharField()
    expires_at = DateTimeTZField()
    revoked_at = DateTimeTZField(null=True)
    revoked_reason = CharField(null=True)
    user_id = UUIDField()
    successor = BlobField(null=True)


def purge_sessions(days: int = 30) -> int:
    """Delete refresh tokens that ended more than `days` ago, and sessions that have none left.

    Returns the number of tokens deleted.
    """
    before = now() - timedelta(days=days)
    token_ended = (RefreshToken.expires_at < before) | (RefreshToken.revoked_at < before)
    deleted: int = RefreshToken.delete().where(token_ended).execute()
    with_tokens = RefreshToken.select(RefreshToken.session)
    Session.delete().where((Session.last_seen_at < before) & Session.id.not_in(with_tokens)).execute()
    return deleted
