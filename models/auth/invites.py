"""Invites to sign up."""

import base64
from datetime import timedelta
from uuid import UUID

from peewee import CharField, IntegerField, ModelSelect, TextField, UUIDField

from models.auth.email_addresses import normalize_email
from models.platform import audit
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.digests import is_hex_digest, keyed_hex_digest, possible_digests, possible_hex_digests
from models.platform.errors import NotFound
from models.platform.ids import uuid7
from models.platform.model import DateTimeTZField, Model
from models.platform.paging import Page
from models.platform.principal import Principal

ACTIVE, REVOKED, EXHAUSTED, EXPIRED = "active", "revoked", "exhausted", "expired"
DIGEST = "invite-token-hash"  # the purpose of its hashes
TOKEN_LENGTH, HINT_LENGTH = 43, 8  # characters; the hint is the part that lists show


class InviteNotFound(NotFound):
    code, message = "invite_not_found", "Invite not found or already revoked."


class Invite(Model):
    """The token is derived from the id, so the mail job can compute it, and neither a row nor a job contains it."""

    token_hash = CharField()
    token_hint = CharField()
    invited_email = CharField(null=True)
    status = CharField(default=ACTIVE)
    max_redemptions = IntegerField(default=1)
    redeemed_count = IntegerField(default=0)
    expires_at = DateTimeTZField(null=True)
    note = TextField(null=True)
    issued_by = CharField()
    revoked_at = DateTimeTZField(null=True)
    signup_request_id = UUIDField(null=True)

    class Meta:
        table_name = "signup_invite"

    @property
    def token(self) -> str:
        """43 characters, 256 bits. It cannot be derived without the key that issued it. Raises InviteNotFound without it."""
        for token in _possible_tokens(self.id):
            if is_hex_digest(self.token_hash, DIGEST, token):
                return token
        raise InviteNotFound("The invite was issued with a SECRET_KEY that is not accepted any more.")

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= now()

    @property
    def current_status(self) -> str:
        """`status`, or "expired" for an active invite whose time is over: that change is not stored."""
        return EXPIRED if self.status == ACTIVE and self.has_expired else self.status

    @classmethod
    @in_transaction
    def issue(
        cls,
        issuer: Principal,
        *,
        email: str | None = None,
        max_redemptions: int = 1,
        hours: int | None = 72,
        note: str | None = None,
        request_id: UUID | None = None,
        client: ClientInfo = UNKNOWN_CLIENT,
    ) -> "Invite":
        """A new invite, for one address only if `email` is given. With `hours=None` it never expires."""
        invite = cls(
            id=uuid7(),
            invited_email=normalize_email(email) if email else None,
            max_redemptions=max_redemptions,
            expires_at=now() + timedelta(hours=hours) if hours else None,
            note=note,
            issued_by=issuer.subject,
            signup_request_id=request_id,
        )
        token = _possible_tokens(invite.id)[0]
        invite.token_hash, invite.token_hint = keyed_hex_digest(DIGEST, token), token[:HINT_LENGTH]
        invite.save(force_insert=True)
        audit.record("auth.invite_issued", issuer, f"invite:{invite.id}", client=client, email=invite.invited_email)
        return invite

    @classmethod
    def page(
        cls, *, status: str | None, email: str | None, request_id: UUID | None, limit: int, offset: int
    ) -> "Page[Invite]":
        """All invites that match, newest first. `status` is compared with `current_status`."""
        query = cls._with_status(status) if status else cls.select()
        if email:
            query = query.where(cls.invited_email == normalize_email(email))
        if request_id:
            query = query.where(cls.signup_request_id == request_id)
        return Page.of(query.order_by(cls.id.desc()), limit=limit, offset=offset)

    @classmethod
    def _with_status(cls, status: str) -> "ModelSelect[Invite]":
        if status == EXPIRED:
            return cls.select().where((cls.status == ACTIVE) & (cls.expires_at <= now()))
        if status == ACTIVE:
            return cls.select().where((cls.status == ACTIVE) & (cls.expires_at.is_null() | (cls.expires_at > now())))
        return cls.select().where(cls.status == status)

    @classmethod
    @in_transaction
    def lock_by_token(cls, token: str) -> "Invite | None":
        hashes = possible_hex_digests(DIGEST, token)
        invite: Invite | None = cls.select().where(cls.token_hash.in_(hashes)).for_update().first()
        return invite

    @classmethod
    def revoke(cls, issuer: Principal, invite_id: UUID, *, client: ClientInfo = UNKNOWN_CLIENT) -> "Invite":
        """Revoke an invite in any state; a second time changes nothing. Seats that are held can still be redeemed.

        Raises InviteNotFound.
        """
        with transaction():
            invite = cls.lock(invite_id)
            if invite is None:
                raise InviteNotFound()
            if invite.status != REVOKED:
                invite.status, invite.revoked_at = REVOKED, now()
                invite.save(only=[cls.status, cls.revoked_at])
                audit.record("auth.invite_revoked", issuer, f"invite:{invite.id}", client=client)
            return invite


def _possible_tokens(invite_id: UUID) -> list[str]:
    """The tokens of an invite by the key that issued it; the first is that of the current key."""
    digests = possible_digests("invite-token", invite_id.bytes)
    return [base64.urlsafe_b64encode(digest).decode()[:TOKEN_LENGTH] for digest in digests]
