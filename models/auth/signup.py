"""Signing up: the policy, requests for access and their approval, and the new tenant with its owner."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from peewee import CharField, TextField, fn

from models.auth import passwords
from models.auth.invites import Invite, RequestNotApproved, Reservation
from models.auth.login import SignIn
from models.auth.tenants import Plan, Tenant
from models.auth.tokens import IssuedTokens
from models.auth.users import Membership, User
from models.platform import audit, limits
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction, release
from models.platform.errors import Conflict, Forbidden, NotFound, RateLimited
from models.platform.model import DateTimeTZField, Model
from models.platform.principal import Principal
from models.platform.settings import settings

PUBLIC, INVITE_ONLY, APPROVAL = "public", "invite_only", "approval"
PENDING, APPROVED, REJECTED = "pending", "approved", "rejected"
HOUR, DAY = 3600, 86_400


class InviteRequired(Forbidden):
    code, message = "invite_required", "Invite token is required for signup."


class SignupIsOpen(Conflict):
    code, message = "signup_is_open", "Signup is open to everybody: register instead of asking for access."


class RequestNotFound(NotFound):
    code, message = "signup_request_not_found", "Signup request not found."


class RequestDecided(Conflict):
    code, message = "signup_request_decided", "Request already processed by another operator."


class TooManyPending(RateLimited):
    code, message = "too_many_pending", "Too many pending requests from this IP. Try again soon."


def policy() -> dict[str, str | bool]:
    """Contract: SignupAccessPolicyResponse."""
    chosen = settings.signup_access_policy
    return {"policy": chosen, "invite_required": chosen != PUBLIC, "request_access_enabled": chosen != PUBLIC}


def count_attempt(kind: str, email: str, origin: ClientInfo) -> None:
    """Each attempt counts, by network, by address and by the address's domain. QuotaExceeded beyond a limit.

    The domains of public mail providers are not counted: their users would shut each other out.
    """
    address = email.strip().lower()
    domain = address.rpartition("@")[2]
    limits.hit(f"{kind}_per_hour", settings.signup_rate_limit_per_hour, HOUR, origin.network)
    limits.hit(f"{kind}_per_day", settings.signup_rate_limit_per_ip_day, DAY, origin.network)
    limits.hit(f"{kind}_per_email_day", settings.signup_rate_limit_per_email_day, DAY, address)
    if domain not in settings.items(settings.signup_shared_domains.lower()):
        limits.hit(f"{kind}_per_domain_day", settings.signup_rate_limit_per_domain_day, DAY, domain)


@contextlib.contextmanager
def seat(token: str | None, email: str) -> Iterator[Reservation | None]:
    """What lets somebody sign up: a seat of their invite, given back if the block fails; none where signup is public."""
    held = None
    if settings.signup_access_policy != PUBLIC:
        if not token:
            raise InviteRequired()
        held = Reservation.hold(token, email, approved_only=settings.signup_access_policy == APPROVAL)
        release()
    try:
        yield held
    except BaseException:
        if held:
            held.release()
        raise


@in_transaction
def register(
    *,
    email: str,
    chosen: str,
    tenant_name: str,
    held: Reservation | None,
    display_name: str | None = None,
    plan_code: str | None = None,
    trial_days: int | None = None,
    origin: ClientInfo = UNKNOWN_CLIENT,
) -> tuple[IssuedTokens, Tenant]:
    """In the caller's transaction: a tenant, its owner, signed in. `chosen` is the password's hash."""
    plan = Plan.known(plan_code or settings.signup_default_plan_code)
    days = plan.trial_days
    if trial_days is not None and settings.allow_signup_trial_override:
        days = min(trial_days, plan.trial_days)
    ends = now() + timedelta(days=days) if days else None
    tenant = Tenant.open(tenant_name.strip(), plan=plan.code, trial_ends_at=ends)
    user = User.add(email, chosen, tenant=tenant, role="owner", display_name=display_name)
    if held:
        held.redeem()
    audit.record(
        "auth.registered",
        f"user:{user.id}",
        f"tenant:{tenant.id}",
        tenant_id=tenant.id,
        origin=origin,
        invite=str(held.invite_id) if held else None,
    )
    membership = Membership.get((Membership.user == user.id) & (Membership.tenant == tenant.id))
    return SignIn.open(user, membership, origin), tenant


def choose_password(password: str, email: str) -> str:
    """The hash of a new account's password. No connection is held meanwhile."""
    release()
    return passwords.choose(password, email)


class SignupRequest(Model):
    """Somebody without an invite asks for one. `network` is what their calls are counted by, not a full IPv6 address."""

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
        cls, *, email: str, organization: str, full_name: str, message: str | None, origin: ClientInfo
    ) -> "SignupRequest | None":
        """In the caller's transaction: a pending request; None if this address has one already."""
        cls._refuse_many_pending(origin)
        made = cls.insert(
            email=email.strip().lower(),
            organization=organization,
            full_name=full_name,
            message=message,
            network=origin.network,
            user_agent=origin.agent,
        )
        return next(iter(made.on_conflict_ignore().returning(cls).execute()), None)

    @classmethod
    def _refuse_many_pending(cls, origin: ClientInfo) -> None:
        """Those of the last day: an operator who takes a week must not shut a whole office out."""
        limit, since = settings.signup_concurrent_requests_limit, now() - timedelta(days=1)
        if limit <= 0:
            return
        waiting = (cls.network == origin.network) & (cls.status == PENDING) & (cls.created_at > since)
        count, oldest = cls.select(fn.count(cls.id), fn.min(cls.created_at)).where(waiting).scalar(as_tuple=True)
        if count >= limit:
            raise TooManyPending(retry_after=int((oldest - since).total_seconds()))

    @classmethod
    def page(cls, *, status: str | None, limit: int, offset: int) -> tuple[list["SignupRequest"], int]:
        """(requests, total) of the whole platform, newest first."""
        query = cls.select().where(cls.status == status) if status else cls.select()
        return list(query.order_by(cls.id.desc()).limit(limit).offset(offset)), query.count()

    @classmethod
    @in_transaction
    def approve(
        cls, operator: Principal, request_id: UUID, *, note: str | None, hours: int | None, origin: ClientInfo
    ) -> tuple["SignupRequest", Invite]:
        """In the caller's transaction: an invite for the requester alone."""
        request = cls._decide(operator, request_id, APPROVED, note, origin)
        invite = Invite.issue(
            operator, email=request.email, hours=hours, note=note, request_id=request.id, origin=origin
        )
        request.invite_token_hint = invite.token_hint
        request.save(only=[cls.invite_token_hint])
        return request, invite

    @classmethod
    @in_transaction
    def reject(
        cls, operator: Principal, request_id: UUID, *, reason: str | None, origin: ClientInfo
    ) -> "SignupRequest":
        return cls._decide(operator, request_id, REJECTED, reason, origin)

    @classmethod
    def _decide(
        cls, operator: Principal, request_id: UUID, status: str, reason: str | None, origin: ClientInfo
    ) -> "SignupRequest":
        request = cls.lock(request_id)
        if request is None:
            raise RequestNotFound()
        if request.status != PENDING:
            raise RequestDecided()
        request.status, request.decision_reason = status, reason
        request.decided_at, request.decided_by = now(), operator.subject
        request.save(only=[cls.status, cls.decision_reason, cls.decided_at, cls.decided_by])
        action = f"auth.signup_request_{status}"
        audit.record(action, operator, f"signup-request:{request.id}", reason=reason, origin=origin)
        return request


@in_transaction
def invite(issuer: Principal, *, email: str | None, request_id: UUID | None, origin: ClientInfo, **more) -> Invite:
    """In the caller's transaction: an invite, for an approved request if one is named: then for its requester alone."""
    if request_id:
        request = SignupRequest.lock(request_id)
        if request is None:
            raise RequestNotFound()
        if request.status != APPROVED:
            raise RequestNotApproved()
        if email and email.strip().lower() != request.email:
            raise Conflict("The signup request was made by another address.")
        email = request.email
    return Invite.issue(issuer, email=email, request_id=request_id, origin=origin, **more)


def purge(days: int) -> None:
    """Drop requests that were decided more than `days` ago, and what is left of signups that never came to an end."""
    old = now() - timedelta(days=days)
    SignupRequest.delete().where(SignupRequest.decided_at < old).execute()
    Reservation.delete().where((Reservation.status != "active") & (Reservation.expires_at < old)).execute()
