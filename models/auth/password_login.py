"""Proving one's identity by e-mail address and password, and logging in with them."""

import logging
from dataclasses import replace
from uuid import UUID

from models.auth import devices, lockout
from models.auth.email_addresses import normalize_email
from models.auth.password_hashing import PasswordHasher
from models.auth.session_tokens import open_session
from models.auth.tokens import IssuedTokens
from models.auth.users import Membership, User
from models.platform import audit
from models.platform.attempts import Budget
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.database import in_transaction, release, transaction
from models.platform.errors import NotAuthenticated
from models.platform.principal import Principal

log = logging.getLogger(__name__)


class InvalidCredentials(NotAuthenticated):
    """`locked_email`: the address whose logins this attempt has locked, so that the caller can mail its owner; or None."""

    code, message = "invalid_credentials", "Invalid email or password."

    def __init__(self, locked_email: str | None = None):
        super().__init__()
        self.locked_email = locked_email


class WrongPassword(InvalidCredentials):
    code, message = "invalid_password", "Invalid current password."


def log_in(
    email: str,
    password: str,
    tenant_id: str | None = None,
    *,
    hasher: PasswordHasher,
    client: ClientInfo = UNKNOWN_CLIENT,
    device_token: str | None = None,
) -> IssuedTokens:
    """Open a session in the given tenant, or in the user's only one. The answer has a token that makes the device known.

    Raises what `authenticate`, `Membership.for_session` and `User.require_active` raise.
    """
    device_id = devices.recognise(device_token, email)
    user = authenticate(email, password, hasher=hasher, client=client, device_id=device_id)
    membership = Membership.for_session(user.id, tenant_id)
    with transaction():
        # Again under the lock: the hash took time, and who was disabled or removed meanwhile gets no session.
        locked = lock_with_same_password(user)
        locked.require_active()
        membership = Membership.for_session(user.id, membership.tenant_id)
        tokens = open_session(locked, membership, client)
    return replace(tokens, device_token=devices.issue(user.id, user.password_hash, device_id))


def authenticate(
    email: str,
    password: str,
    *,
    hasher: PasswordHasher,
    client: ClientInfo = UNKNOWN_CLIENT,
    device_id: UUID | None = None,
) -> User:
    """The user with this address and password. `device_id`: the known device that they use, if it is one.

    Raises InvalidCredentials, Locked, QuotaExceeded or CountersAway. Errors and timing reveal nothing about an account to
    somebody who does not know its password: an address without one is counted, locked and hashed for in the same way.
    """
    budgets = lockout.of_device(device_id) if device_id else lockout.of_stranger(email, client)
    return _prove(normalize_email(email), password, budgets, hasher, client)


def confirm_password(
    principal: Principal, password: str, *, hasher: PasswordHasher, client: ClientInfo = UNKNOWN_CLIENT
) -> User:
    """The caller's user, if this is their password. Raises like `authenticate`, and WrongPassword for InvalidCredentials.

    Failures count against the session: its owner is not locked out by them, and nobody else by theirs.
    """
    user = User.get_or_none(User.id == principal.user_id)
    if user is None or principal.session_id is None:
        raise NotAuthenticated("Unknown user.")
    try:
        return _prove(normalize_email(user.email), password, lockout.of_session(principal.session_id), hasher, client)
    except InvalidCredentials as error:
        raise WrongPassword(error.locked_email) from None


def _prove(email: str, password: str, budgets: list[Budget], hasher: PasswordHasher, client: ClientInfo) -> User:
    release()
    with lockout.guess(budgets) as attempt:
        user = User.by_email(email)
        release()
        if hasher.verify(user.password_hash if user else None, password) and user:
            attempt.succeed()
        else:
            raise InvalidCredentials(_record_failure(email, user, attempt.spend(), client))
    _upgrade_hash(user, password, hasher)
    return user


def _record_failure(email: str, user: User | None, closed: list[Budget], client: ClientInfo) -> str | None:
    """Audit it. Returns the address if this failure has locked it."""
    locked = lockout.locks(closed)
    action = "auth.account_locked" if locked else "auth.sign_in_failed"
    with transaction():
        audit.record(action, "anonymous", f"user:{user.id}" if user else None, client=client)
    log.warning("auth.login_failed", extra={"client_ip": client.masked, "locked": locked})
    return email if locked else None


@in_transaction
def lock_with_same_password(user: User) -> User:
    """The user as stored now. Block changes of them until the transaction ends: a later one also ends the new session.

    Raises InvalidCredentials if the password was changed after `authenticate` had read it.
    """
    query = User.select().where(user.password_is_unchanged)
    locked = query.for_update("FOR SHARE").get_or_none()  # type: ignore[arg-type]  # peewee takes the lock's name
    if locked is None:
        raise InvalidCredentials()
    return locked


def _upgrade_hash(user: User, password: str, hasher: PasswordHasher) -> None:
    """Replace a hash made with outdated parameters, unless the password was changed meanwhile."""
    if not hasher.is_outdated(user.password_hash):
        return
    password_hash = hasher.hash(password)
    if User.update(password_hash=password_hash).where(user.password_is_unchanged).execute():
        user.password_hash = password_hash
