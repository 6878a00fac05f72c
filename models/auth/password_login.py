"""Proving who one is by a password, and changing that password. Wrong ones lock the account, and slow their network down."""

import logging
from uuid import UUID

from models.auth import email_tokens, passwords
from models.auth.password_history import PasswordHistory
from models.auth.sessions import Session
from models.auth.users import Membership, User
from models.platform import audit, limits
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import database, in_transaction, release, transaction
from models.platform.errors import Conflict, Forbidden, Locked, NotAuthenticated, NotFound
from models.platform.principal import RANK, Principal
from models.platform.settings import settings

log = logging.getLogger(__name__)

# Count a failure; the one that reaches the threshold locks. By address, so that an unknown one costs the same.
FAILED = """
update users set failed_at = now(),
    failures = case when reached then 0 else counted end,
    locked_until = case when reached then now() + %(locked)s * interval '1 minute' else locked_until end
from (
    select id as user_id, counted, counted >= %(threshold)s and %(threshold)s > 0 as reached from (
        select id, case when failed_at > now() - %(window)s * interval '1 minute' then failures + 1 else 1 end as counted
        from users where lower(email) = %(email)s and coalesce(locked_until, now()) <= now() for update
    ) candidate
) failure
where id = user_id
returning id, reached"""


class InvalidCredentials(NotAuthenticated):
    """`locked`: the user whose account this failure has locked, so that they can be told by mail."""

    code, message = "invalid_credentials", "Invalid email or password."

    def __init__(self, locked: UUID | None = None):
        super().__init__()
        self.locked = locked


class WrongPassword(InvalidCredentials):
    code, message = "invalid_password", "Invalid current password."


class PasswordChangedMeanwhile(Conflict):
    code, message = "password_changed_meanwhile", "The password was changed by another request meanwhile."


class UserNotFound(NotFound):
    code, message = "user_not_found", "Unknown user."


class ResetNotAllowed(Forbidden):
    code = "reset_not_allowed"


def authenticate(email: str, password: str, *, origin: ClientInfo = UNKNOWN_CLIENT) -> User:
    """Whose address and password these are. Nothing about an account is told before its password was right."""
    email = email.strip().lower()
    _refuse_busy_network(origin)
    user = User.by_email(email)
    release()  # hashing takes its time; others may use the connection meanwhile
    if not passwords.verify(user.password_hash if user else None, password):
        raise InvalidCredentials(_failed(email, user, origin))
    # Asked again, and not before: of many guesses at once none is accepted after the one that locked the account.
    if not _clear_failures(user.id):
        raise Locked()
    if passwords.is_outdated(user.password_hash):
        renewed = passwords.offload(passwords.hash_password, password)
        if User.update(password_hash=renewed).where(_unchanged(user)).execute():
            user.password_hash = renewed
    return user


@in_transaction
def hold(user: User) -> None:
    """In the caller's transaction: the password that `authenticate` found right stays theirs until its end."""
    if User.select(User.id).where(_unchanged(user)).for_update("FOR SHARE").first() is None:
        raise InvalidCredentials()


def prove(principal: Principal, password: str, *, origin: ClientInfo = UNKNOWN_CLIENT) -> User:
    """The caller, who knows the account's password. A wrong one counts like one at sign-in."""
    user = User.get_or_none(User.id == principal.user_id)
    if user is None:
        raise NotAuthenticated("Unknown user.")
    try:
        return authenticate(user.email, password, origin=origin)
    except InvalidCredentials as error:
        raise WrongPassword(error.locked) from None


def below(principal: Principal, user_id: UUID) -> User:
    """Whose password an admin may set: somebody below them in their tenant, who belongs to no other tenant."""
    held = list(Membership.select().where(Membership.user == user_id))
    here = next((one for one in held if one.tenant_id == principal.tenant_id), None)
    if here is None:
        raise UserNotFound()
    if RANK.get(here.role, 0) >= RANK[principal.role]:
        raise ResetNotAllowed("Only somebody with a higher role can set this user's password.")
    if len(held) > 1:
        raise ResetNotAllowed("This user belongs to other tenants too: have them reset the password by mail.")
    return User.get_by_id(user_id)


def choose(user: User, new: str) -> str:
    """The hash of a user's new password. PasswordRefused when policy or history forbid it."""
    earlier = [user.password_hash, *PasswordHistory.newest(user.id, settings.auth_password_history_count - 1)]
    release()
    return passwords.choose(new, user.email, earlier[: settings.auth_password_history_count])


@in_transaction
def set_password(
    user: User, chosen: str, reason: str, *, by: Principal | str, origin: ClientInfo = UNKNOWN_CLIENT
) -> None:
    """In the caller's transaction: the new password, no lock, and no session any more."""
    free = {"failures": 0, "failed_at": None, "locked_until": None}
    if not User.update(password_hash=chosen, **free).where(_unchanged(user)).execute():
        raise PasswordChangedMeanwhile()
    PasswordHistory.keep(user.id, user.password_hash, settings.auth_password_history_count)
    Session.revoke(Session.user == user.id, reason)
    audit.record(f"auth.{reason}", by, f"user:{user.id}", origin=origin)


def choose_by_token(token: str, new: str) -> tuple[User, str]:
    """(whose password a mailed token lets them set, the hash of the new one). Nothing is used up yet."""
    user = User.get_or_none(User.id == email_tokens.look_up(token, email_tokens.RESET_PASSWORD).user_id)
    if user is None:
        raise email_tokens.TokenRefused("Password reset token is invalid or expired.")
    return user, choose(user, new)


@in_transaction
def reset(token: str, user: User, chosen: str, *, origin: ClientInfo = UNKNOWN_CLIENT) -> None:
    """In the caller's transaction: use the token up. If the password was refused before, it is still good."""
    email_tokens.redeem(token, email_tokens.RESET_PASSWORD)
    set_password(user, chosen, "password_reset_token", by=f"user:{user.id}", origin=origin)
    email_tokens.revoke(user.id, email_tokens.RESET_PASSWORD)


def verify_email(token: str, *, origin: ClientInfo = UNKNOWN_CLIENT) -> User:
    """The address is the user's. Sessions end: their tokens say otherwise."""
    with transaction():
        user = User.lock(email_tokens.redeem(token, email_tokens.VERIFY_EMAIL))
        if user is None:
            raise email_tokens.TokenRefused("Verification token is invalid or expired.")
        user.email_verified_at = user.email_verified_at or now()
        user.status = "active" if user.status == "pending" else user.status
        user.save(only=[User.email_verified_at, User.status])
        Session.revoke(Session.user == user.id, "email_verified")
        audit.record("auth.email_verified", f"user:{user.id}", f"user:{user.id}", origin=origin)
    return user


def _failed(email: str, user: User | None, origin: ClientInfo) -> UUID | None:
    """Count a wrong password; the user whose account it has locked."""
    for network in origin.networks:
        limits.count("login_network", settings.auth_ip_lockout_threshold, _seconds(), network)
    with transaction():
        row = database.execute_sql(
            FAILED,
            {
                "email": email,
                "threshold": settings.auth_lockout_threshold,
                "window": settings.auth_lockout_window_minutes,
                "locked": settings.auth_lockout_duration_minutes,
            },
        ).fetchone()
        user_id, reached = row or (None, False)  # nobody, or somebody whose account is locked already
        subject = f"user:{user.id}" if user else None
        action = "auth.account_locked" if reached else "auth.sign_in_failed"
        audit.record(action, "anonymous", subject, origin=origin)
    log.warning("auth.login_failed", extra={"client_ip": origin.masked, "locked": bool(reached)})
    return user_id if reached else None


def _clear_failures(user_id: UUID) -> bool:
    """False when the account is locked."""
    open_ = User.locked_until.is_null() | (User.locked_until <= now())
    return bool(
        User.update(failures=0, failed_at=None, locked_until=None).where((User.id == user_id) & open_).execute()
    )


def _unchanged(user: User):
    return (User.id == user.id) & (User.password_hash == user.password_hash)


def _refuse_busy_network(origin: ClientInfo) -> None:
    for network in origin.networks:
        limits.check(
            "login_network",
            settings.auth_ip_lockout_threshold,
            _seconds(),
            network,
            message="Too many login attempts from this network segment.",
        )


def _seconds() -> int:
    return 60 * settings.auth_ip_lockout_window_minutes
