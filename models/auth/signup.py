"""Signing up: the policy, the limits, and the registration of a tenant with its owner."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from models.auth import devices
from models.auth.email_addresses import normalize_email
from models.auth.invite_reservations import Reservation
from models.auth.session_tokens import open_session
from models.auth.tenants import Plan, Tenant
from models.auth.tokens import IssuedTokens
from models.auth.users import Membership, User
from models.platform import attempts, audit, limits
from models.platform.attempts import Attempt, Budget, BudgetFull
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction, release
from models.platform.digests import lasting_hex_digest
from models.platform.errors import Conflict, Forbidden
from models.platform.limits import DAY, HOUR, QuotaExceeded
from models.platform.settings import settings

PUBLIC, INVITE_ONLY, APPROVAL = "public", "invite_only", "approval"


class InviteRequired(Forbidden):
    code, message = "invite_required", "Invite token is required for signup."


class SignupIsOpen(Conflict):
    code, message = "signup_is_open", "Signup is open to everybody: register instead of asking for access."


@dataclass(frozen=True, slots=True)
class SignupPolicy:
    """`policy`: public, invite_only or approval (an operator has to approve a request for access first)."""

    policy: str
    invite_required: bool
    request_access_enabled: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """What somebody registers with. `plan_code` and `trial_days` default to the installation's and the plan's."""

    email: str
    password_hash: str
    tenant_name: str
    display_name: str | None = None
    plan_code: str | None = None
    trial_days: int | None = None

    @property
    def plan(self) -> str:
        return self.plan_code or settings.signup_default_plan_code

    @property
    def longest_trial(self) -> int | None:
        """Days, if the trial is to be shorter than the plan's and may be."""
        return self.trial_days if settings.allow_signup_trial_override else None


def current_policy() -> SignupPolicy:
    is_public = settings.signup_access_policy == PUBLIC
    return SignupPolicy(settings.signup_access_policy, not is_public, not is_public)


def require_requests_enabled() -> None:
    """Raises SignupIsOpen where nobody needs to ask for access."""
    if not current_policy().request_access_enabled:
        raise SignupIsOpen()


def count_attempt(kind: str, client: ClientInfo) -> None:
    """Count an attempt against the network it comes from, whether it succeeds or not. Raises QuotaExceeded."""
    limits.hit(f"{kind}_per_hour", settings.signup_rate_limit_per_hour, HOUR, client.network)
    limits.hit(f"{kind}_per_day", settings.signup_rate_limit_per_ip_day, DAY, client.network)


@contextlib.contextmanager
def charged_address(kind: str, email: str, client: ClientInfo) -> Iterator[Attempt]:
    """Charge the block to the address and its mail domain, unless it raises or gives its places back.

    What comes to nothing costs them nothing: strangers could use up what belongs to others. The domains of public mail
    providers are not charged, since their users have nothing to do with each other. Addresses need not be one's own to be
    registered, so no network gets more than half of a domain's places. Raises QuotaExceeded.
    """
    try:
        with attempts.attempt(_budgets(kind, normalize_email(email), client)) as attempt:
            yield attempt
            attempt.spend()
    except BudgetFull as full:
        raise QuotaExceeded(full.budget.quota, full.retry_after) from None


def _budgets(kind: str, email: str, client: ClientInfo) -> Iterator[Budget]:
    domain, per_day = email.rpartition("@")[2], settings.signup_rate_limit_per_email_day
    yield Budget(f"{kind}_per_email_day", lasting_hex_digest("signup-address", email), per_day, DAY)
    if domain not in settings.items(settings.signup_shared_domains.lower()):
        limit = settings.signup_rate_limit_per_domain_day
        yield Budget(f"{kind}_per_domain_day", domain, limit, DAY)
        yield Budget(f"{kind}_share_of_domain_day", f"{domain}:{client.wide_network}", (limit + 1) // 2, DAY)


@contextlib.contextmanager
def reserved_seat(invite_token: str | None, email: str) -> Iterator[Reservation | None]:
    """Hold a seat of the invite for the block, and give it back if the block raises. None where signup is public.

    Raises InviteRequired or InvalidInvite.
    """
    if settings.signup_access_policy == PUBLIC:
        yield None
        return
    if not invite_token:
        raise InviteRequired()
    reservation = Reservation.hold(invite_token, email, approved_only=settings.signup_access_policy == APPROVAL)
    release()
    try:
        yield reservation
    except BaseException:
        reservation.release()
        raise


@in_transaction
def register(
    registration: Registration, reservation: Reservation | None, *, client: ClientInfo = UNKNOWN_CLIENT
) -> tuple[IssuedTokens, Tenant]:
    """Create a tenant and its owner, redeem the seat, and log the owner in.

    Raises PlanNotFound, PlanNotSold, EmailTaken, SlugUnavailable or InviteInactive.
    """
    plan = Plan.to_sell(registration.plan)
    tenant = Tenant.open(
        registration.tenant_name.strip(),
        plan=plan.code,
        trial_ends_at=_trial_end(plan, registration.longest_trial),
        seats=plan.seats_included if settings.enable_billing else None,
    )
    user = User.add(
        registration.email,
        registration.password_hash,
        tenant=tenant,
        role="owner",
        display_name=registration.display_name,
    )
    if reservation:
        reservation.redeem()
    audit.record(
        "auth.registered",
        f"user:{user.id}",
        f"tenant:{tenant.id}",
        tenant_id=tenant.id,
        client=client,
        invite=str(reservation.invite_id) if reservation else None,
    )
    tokens = open_session(user, Membership.for_session(user.id, tenant.id), client)
    return replace(tokens, device_token=devices.issue(user.id, user.password_hash)), tenant


def _trial_end(plan: Plan, longest: int | None) -> datetime | None:
    days = plan.trial_days if longest is None else min(longest, plan.trial_days)
    return now() + timedelta(days=days) if days else None
