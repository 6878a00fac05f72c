"""Seats of an invite that signups hold while they run."""

from datetime import timedelta
from uuid import UUID

from peewee import Case, CharField, ForeignKeyField

from models.auth.email_addresses import normalize_email
from models.auth.invites import ACTIVE, EXHAUSTED, EXPIRED, Invite
from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.errors import Forbidden
from models.platform.model import DateTimeTZField, Model
from models.platform.settings import settings

FINALIZED, RELEASED = "finalized", "released"
SHORTEST_SECONDS = 60


class InvalidInvite(Forbidden):
    code, message = "invite_invalid", "Invite token is invalid."


class InviteInactive(InvalidInvite):
    code, message = "invite_inactive", "Invite token is no longer active."


class InviteExpired(InvalidInvite):
    code, message = "invite_expired", "Invite token has expired."


class InviteForOtherEmail(InvalidInvite):
    code, message = "invite_restricted", "Invite token is restricted to a different email."


class InviteNotApproved(InvalidInvite):
    code, message = "invite_not_approved", "Approval-required signup must use an approved invite."


class Reservation(Model):
    """One seat of an invite. It expires by itself, so a process that dies costs nobody an invite."""

    invite_id: UUID
    invite = ForeignKeyField(Invite, on_delete="CASCADE", lazy_load=False)
    expires_at = DateTimeTZField()
    status = CharField(default=ACTIVE)

    class Meta:
        table_name = "signup_reservation"

    @classmethod
    def hold(cls, token: str, email: str, *, approved_only: bool) -> "Reservation":
        """Hold a seat for SIGNUP_INVITE_RESERVATION_TTL_SECONDS. `approved_only`: the invite must answer a request.

        Safe under concurrency: never exceeds the remaining seats. Raises InvalidInvite or a subclass that says why.
        """
        with transaction():
            invite = Invite.lock_by_token(token)
            if invite is None:
                raise InvalidInvite()
            _check(invite, email, approved_only=approved_only)
            if invite.redeemed_count + cls._count_held_seats(invite) >= invite.max_redemptions:
                raise InviteInactive()
            seconds = max(SHORTEST_SECONDS, settings.signup_invite_reservation_ttl_seconds)
            return cls.create(invite=invite.id, expires_at=now() + timedelta(seconds=seconds))

    @classmethod
    @in_transaction
    def _count_held_seats(cls, invite: Invite) -> int:
        reserved = (cls.invite == invite.id) & (cls.status == ACTIVE)
        cls.update(status=EXPIRED).where(reserved & (cls.expires_at <= now())).execute()
        return cls.select().where(reserved).count()

    @in_transaction
    def redeem(self) -> None:
        """Use the seat up, in the transaction that creates the account.

        Raises InviteInactive if the reservation has expired and somebody else took the seat.
        """
        if not self._change_status(FINALIZED):
            raise InviteInactive()
        redeemed_count = Invite.redeemed_count + 1
        is_last = (redeemed_count >= Invite.max_redemptions) & (Invite.status == ACTIVE)
        status = Case(None, ((is_last, EXHAUSTED),), Invite.status)
        Invite.update(redeemed_count=redeemed_count, status=status).where(Invite.id == self.invite_id).execute()

    def release(self) -> None:
        """Give the seat back, if it is still reserved."""
        self._change_status(RELEASED)

    def _change_status(self, status: str) -> bool:
        reserved = (Reservation.id == self.id) & (Reservation.status == ACTIVE)
        return bool(Reservation.update(status=status).where(reserved).execute())


def _check(invite: Invite, email: str, *, approved_only: bool) -> None:
    if invite.status != ACTIVE:
        raise InviteInactive()
    if invite.has_expired:
        raise InviteExpired()
    if invite.invited_email and invite.invited_email != normalize_email(email):
        raise InviteForOtherEmail()
    if approved_only and invite.signup_request_id is None:
        raise InviteNotApproved()
