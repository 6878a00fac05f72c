"""Requests for access by people without an invite, and what operators decide about them."""

from datetime import timedelta
from uuid import UUID

from peewee import CharField, TextField, fn

from models.auth.email_addresses import normalize_email
from models.auth.invite_reservations import Reservation
from models.auth.invites import ACTIVE, Invite
from models.platform import audit, locks
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import Conflict, NotFound, RateLimited
from models.platform.model import DateTimeTZField, Model
from models.platform.paging import Page
from models.platform.principal import Principal
from models.platform.settings import settings

PENDING, APPROVED, REJECTED = "pending", "approved", "rejected"


class RequestNotFound(NotFound):
    code, message = "signup_request_not_found", "Signup request not found."


class RequestDecided(Conflict):
    code, message = "signup_request_decided", "Request already processed by another operator."


class RequestNotApproved(Conflict):
    code, message = "signup_request_not_approved", "The signup request is not approved."


class TooManyPending(RateLimited):
    code, message = "too_many_pending", "Too many pending requests from this IP. Try again soon."


class SignupRequest(Model):
    """A request for access. `network` is the IPv4 address or IPv6 /64 that limits count by, not a full IPv6 address."""

    email = CharField()
    organization = CharField()
    full_name = CharField()
    message = TextField(null=True)
    status = CharField(default=PENDING)
    network = CharField()
    user_agent = CharField(null=True)
    decided_at = DateTimeTZField(null=True)
    decided_by = CharField(null=True)
    decision_reason = TextField(null=True)
    invite_token_hint = CharField(null=True)

    @classmethod
    @in_transaction
    def submit(
        cls, *, email: str, organization: str, full_name: str, message: str | None, client: ClientInfo
    ) -> "SignupRequest | None":
        """A new pending request; None if the address has one already. Raises TooManyPending."""
        cls._limit_pending(client)
        return cls.insert_if_new(
            email=normalize_email(email),
            organization=organization,
            full_name=full_name,
            message=message,
            network=client.network,
            user_agent=client.agent,
        )

    @classmethod
    def _limit_pending(cls, client: ClientInfo) -> None:
        """Only the last day counts: an operator who takes a week must not lock a whole office out."""
        limit, since = settings.signup_concurrent_requests_limit, now() - timedelta(days=1)
        if limit <= 0:
            return
        locks.lock("signup-request", client.network)  # requests sent at once count each other
        pending = (cls.network == client.network) & (cls.status == PENDING) & (cls.created_at > since)
        count, oldest = cls.select(fn.count(cls.id), fn.min(cls.created_at)).where(pending).scalar(as_tuple=True)
        if count >= limit:
            raise TooManyPending(retry_after=int((oldest - since).total_seconds()))

    @classmethod
    def page(cls, *, status: str | None, limit: int, offset: int) -> "Page[SignupRequest]":
        """The requests of the whole platform, newest first."""
        query = cls.select().where(cls.status == status) if status else cls.select()
        return Page.of(query.order_by(cls.id.desc()), limit=limit, offset=offset)

    @classmethod
    @in_transaction
    def approve(
        cls, operator: Principal, request_id: UUID, *, note: str | None, hours: int | None, client: ClientInfo
    ) -> "tuple[SignupRequest, Invite]":
        """Approve a request and issue an invite for its address only. Raises RequestNotFound or RequestDecided."""
        request = cls._decide(operator, request_id, APPROVED, note, client)
        invite = Invite.issue(
            operator, email=request.email, hours=hours, note=note, request_id=request.id, client=client
        )
        request.invite_token_hint = invite.token_hint
        request.save(only=[cls.invite_token_hint])
        return request, invite

    @classmethod
    @in_transaction
    def reject(
        cls, operator: Principal, request_id: UUID, *, reason: str | None, client: ClientInfo
    ) -> "SignupRequest":
        """Reject a request. Raises RequestNotFound or RequestDecided."""
        return cls._decide(operator, request_id, REJECTED, reason, client)

    @classmethod
    @in_transaction
    def _decide(
        cls, operator: Principal, request_id: UUID, status: str, reason: str | None, client: ClientInfo
    ) -> "SignupRequest":
        request = cls._lock_existing(request_id)
        if request.status != PENDING:
            raise RequestDecided()
        request.status, request.decision_reason = status, reason
        request.decided_at, request.decided_by = now(), operator.subject
        request.save(only=[cls.status, cls.decision_reason, cls.decided_at, cls.decided_by])
        action, subject = f"auth.signup_request_{status}", f"signup-request:{request.id}"
        audit.record(action, operator, subject, reason=reason, client=client)
        return request

    @classmethod
    @in_transaction
    def email_to_invite(cls, request_id: UUID, email: str | None) -> str:
        """The address of an approved request, for another invite. `email`, if given, must be the same address.

        Raises RequestNotFound, RequestNotApproved or Conflict.
        """
        request = cls._lock_existing(request_id)
        if request.status != APPROVED:
            raise RequestNotApproved()
        if email and normalize_email(email) != request.email:
            raise Conflict("The signup request was made by another address.")
        return request.email

    @classmethod
    @in_transaction
    def _lock_existing(cls, request_id: UUID) -> "SignupRequest":
        request = cls.lock(request_id)
        if request is None:
            raise RequestNotFound()
        return request


def purge(days: int) -> None:
    """Delete requests decided more than `days` ago, and reservations that ended that long ago."""
    before = now() - timedelta(days=days)
    SignupRequest.delete().where(SignupRequest.decided_at < before).execute()
    Reservation.delete().where((Reservation.status != ACTIVE) & (Reservation.expires_at < before)).execute()
