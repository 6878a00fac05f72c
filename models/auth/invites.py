"""Invites to sign up, and the seats that signups under way hold on them."""

import base64
import hashlib
import hmac
from datetime import timedelta
from uuid import UUID

from peewee import Case, CharField, ForeignKeyField, IntegerField, TextField, UUIDField

from models.auth.tokens import hash_token
from models.platform import audit
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.errors import Conflict, Forbidden, NotFound
from models.platform.ids import uuid7
from models.platform.model import DateTimeTZField, Model
from models.platform.principal import Principal
from models.platform.settings import settings

ACTIVE, REVOKED, EXHAUSTED, EXPIRED = "active", "revoked", "exhausted", "expired"
FINALIZED, RELEASED = "finalized", "released"
HINT_LENGTH = 8  # characters of a token that lists show


class InviteNotFound(NotFound):
    code, message = "invite_not_found", "Invite not found or already revoked."


class InviteRefused(Forbidden):
    code, message = "invite_invalid", "Invite token is invalid."


class InviteUsedUp(InviteRefused):
    code, message = "invite_inactive", "Invite token is no longer active."


class InviteExpired(InviteRefused):
    code, message = "invite_expired", "Invite token has expired."


class InviteForAnother(InviteRefused):
    code, message = "invite_restricted", "Invite token is restricted to a different email."


class InviteNotApproved(InviteRefused):
    code, message = "invite_not_approved", "Approval-required signup must use an approved invite."


class RequestNotApproved(Conflict):
    code, message = "signup_request_not_approved", "The signup request is not approved."


class Invite(Model):
    """The token is derived from the id, so that a mail can name it: neither a row nor a job holds it."""

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
        """43 characters, 256 bits. Only who knows SECRET_KEY can derive it."""
        key = settings.secret_key.get_secret_value().encode()
        return base64.urlsafe_b64encode(hmac.digest(key, b"signup-invite" + self.id.bytes, hashlib.sha256)).decode()[
            :43
        ]

    @property
    def shown_status(self) -> str:
        lapsed = self.status == ACTIVE and self.expires_at is not None and self.expires_at <= now()
        return EXPIRED if lapsed else self.status

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
        origin: ClientInfo = UNKNOWN_CLIENT,
    ) -> "Invite":
        """In the caller's transaction: a new invite. `hours=None`: it never expires."""
        invite = cls(
            id=uuid7(),
            invited_email=email.strip().lower() if email else None,
            max_redemptions=max_redemptions,
            expires_at=now() + timedelta(hours=hours) if hours else None,
            note=note,
            issued_by=issuer.subject,
            signup_request_id=request_id,
        )
        invite.token_hash, invite.token_hint = hash_token(invite.token), invite.token[:HINT_LENGTH]
        invite.save(force_insert=True)
        audit.record("auth.invite_issued", issuer, f"invite:{invite.id}", origin=origin, email=invite.invited_email)
        return invite

    @classmethod
    def page(
        cls, *, status: str | None, email: str | None, request_id: UUID | None, limit: int, offset: int
    ) -> tuple[list["Invite"], int]:
        """(invites, total), newest first."""
        query, lapsed = cls.select(), (cls.status == ACTIVE) & (cls.expires_at <= now())
        if status == EXPIRED:
            query = query.where(lapsed)
        elif status == ACTIVE:
            query = query.where((cls.status == ACTIVE) & (cls.expires_at.is_null() | (cls.expires_at > now())))
        elif status:
            query = query.where(cls.status == status)
        if email:
            query = query.where(cls.invited_email == email.strip().lower())
        if request_id:
            query = query.where(cls.signup_request_id == request_id)
        return list(query.order_by(cls.id.desc()).limit(limit).offset(offset)), query.count()

    @classmethod
    def revoke(cls, issuer: Principal, invite_id: UUID, *, origin: ClientInfo = UNKNOWN_CLIENT) -> "Invite":
        """Whatever its state; a second time changes nothing. Signups that hold a seat already may complete."""
        with transaction():
            invite = cls.lock(invite_id)
            if invite is None:
                raise InviteNotFound()
            if invite.status != REVOKED:
                invite.status, invite.revoked_at = REVOKED, now()
                invite.save(only=[cls.status, cls.revoked_at])
                audit.record("auth.invite_revoked", issuer, f"invite:{invite.id}", origin=origin)
        return invite


class Reservation(Model):
    """A seat of an invite, held by a signup under way. It lapses by itself, so a process that dies costs nobody an invite."""

    invite = ForeignKeyField(Invite, on_delete="CASCADE", lazy_load=False)
    expires_at = DateTimeTZField()
    status = CharField(default=ACTIVE)

    class Meta:
        table_name = "signup_reservation"

    @classmethod
    def hold(cls, token: str, email: str, *, approved_only: bool) -> "Reservation":
        """Of many at once no more get a seat than the invite has left. InviteRefused says why not."""
        with transaction():
            invite = Invite.select().where(Invite.token_hash == hash_token(token)).for_update().first()
            if invite is None:
                raise InviteRefused()
            if invite.status != ACTIVE:
                raise InviteUsedUp()
            if invite.shown_status == EXPIRED:
                raise InviteExpired()
            if invite.invited_email and invite.invited_email != email.strip().lower():
                raise InviteForAnother()
            if approved_only and invite.signup_request_id is None:
                raise InviteNotApproved()
            mine = (cls.invite == invite.id) & (cls.status == ACTIVE)
            cls.update(status=EXPIRED).where(mine & (cls.expires_at <= now())).execute()
            if invite.redeemed_count + cls.select().where(mine).count() >= invite.max_redemptions:
                raise InviteUsedUp()
            until = now() + timedelta(seconds=max(60, settings.signup_invite_reservation_ttl_seconds))
            return cls.create(invite=invite.id, expires_at=until)

    @in_transaction
    def redeem(self) -> None:
        """In the transaction that creates the account: the seat is used up."""
        if not self._leave(FINALIZED):
            raise InviteUsedUp()  # it took so long that somebody else has the seat
        used = Invite.redeemed_count + 1
        last = (used >= Invite.max_redemptions) & (Invite.status == ACTIVE)
        status = Case(None, ((last, EXHAUSTED),), Invite.status)
        Invite.update(redeemed_count=used, status=status).where(Invite.id == self.invite_id).execute()

    def release(self) -> None:
        self._leave(RELEASED)

    def _leave(self, status: str) -> int:
        mine = (Reservation.id == self.id) & (Reservation.status == ACTIVE)
        return Reservation.update(status=status).where(mine).execute()
