"""Setting a new password: by the user, with a mailed token, or by an admin.

Each way first chooses the password without a transaction, because hashing takes time, and then sets it in one.
"""

from uuid import UUID

from models.auth import email_tokens, lockout, operators, passwords
from models.auth.password_hashing import PasswordHasher
from models.auth.password_history import PasswordHistory
from models.auth.sessions import Session
from models.auth.users import Membership, User
from models.platform import audit
from models.platform.authorization import PASSWORD_RESET, Rights, may
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.database import database, in_transaction, release
from models.platform.errors import Conflict, Forbidden, NotFound
from models.platform.principal import Principal, scopes_for
from models.platform.settings import settings


class PasswordChangedMeanwhile(Conflict):
    code, message = "password_changed_meanwhile", "The password was changed by another request meanwhile."


class UserNotFound(NotFound):
    code, message = "user_not_found", "Unknown user."


class ResetNotAllowed(Forbidden):
    code = "reset_not_allowed"
    message = "This user has a role, a membership or a grant that you lack: have them reset the password by mail."


def choose_password(user: User, new_password: str, *, hasher: PasswordHasher) -> str:
    """The hash of a user's new password. Raises PasswordRejected or PasswordReused."""
    count = settings.auth_password_history_count
    previous_hashes = [user.password_hash, *PasswordHistory.newest(user.id, count - 1)][:count]
    release()
    return passwords.choose_password(new_password, user.email, previous_hashes, hasher=hasher)


@in_transaction
def set_password(
    user: User, password_hash: str, reason: str, *, by: Principal | str, client: ClientInfo = UNKNOWN_CLIENT
) -> None:
    """Store the new hash, unlock the account, end all of the user's sessions and forget their devices.

    `reason` goes into the audit log (as `auth.<reason>`) and into the ended sessions. Raises PasswordChangedMeanwhile if
    the password is no longer the one in `user`.
    """
    if not User.update(password_hash=password_hash).where(user.password_is_unchanged).execute():
        raise PasswordChangedMeanwhile()
    PasswordHistory.remember(user.id, user.password_hash, settings.auth_password_history_count)
    Session.revoke(Session.user_id == user.id, reason)
    database.after_commit(lambda: lockout.unlock(user.email))
    audit.record(f"auth.{reason}", by, f"user:{user.id}", client=client)


@in_transaction
def reset_by_admin(admin: Principal, user: User, password_hash: str, *, client: ClientInfo = UNKNOWN_CLIENT) -> None:
    """Set another user's password. The right to do so is checked again: hashing took time, and a grant may be new.

    Raises UserNotFound, ResetNotAllowed or PasswordChangedMeanwhile.
    """
    User.lock(user.id)
    user_to_reset(admin, user.id)
    set_password(user, password_hash, "password_reset", by=admin, client=client)


def choose_password_by_token(token: str, new_password: str, *, hasher: PasswordHasher) -> tuple[User, str]:
    """(the user whom a mailed token lets reset their password, the new password's hash). The token stays usable.

    Raises InvalidEmailToken, PasswordRejected or PasswordReused.
    """
    user = User.get_or_none(User.id == email_tokens.user_id_of(token, email_tokens.RESET_PASSWORD))
    if user is None:
        raise email_tokens.InvalidEmailToken("Password reset token is invalid or expired.")
    return user, choose_password(user, new_password, hasher=hasher)


@in_transaction
def reset_by_token(token: str, user: User, password_hash: str, *, client: ClientInfo = UNKNOWN_CLIENT) -> None:
    """Use up a mailed token and set the password. Raises InvalidEmailToken or PasswordChangedMeanwhile."""
    email_tokens.redeem(token, email_tokens.RESET_PASSWORD)
    set_password(user, password_hash, "password_reset_token", by=f"user:{user.id}", client=client)


def user_to_reset(admin: Principal, user_id: UUID) -> User:
    """A user whose password the admin may set: of lower rank in the admin's tenant, in no other tenant, and with no
    grant that the admin lacks. Whoever sets a password could sign in with it.

    Raises UserNotFound or ResetNotAllowed.
    """
    rights = _rights_of(user_id)
    if not any(right.tenant_id == admin.tenant_id for right in rights):
        raise UserNotFound()
    if not all(may(admin, PASSWORD_RESET, right) for right in rights):
        raise ResetNotAllowed()
    return User.get_by_id(user_id)


def _rights_of(user_id: UUID) -> list[Rights]:
    """What somebody who signs in as this user may do, in each of their tenants."""
    grants = operators.scopes_of(user_id)
    return [
        Rights(membership.tenant_id, frozenset((*scopes_for(membership.role), *grants)), membership.role)
        for membership in Membership.of_user(user_id)
    ]
