"""Setting a new password: by the user, with a mailed token, or by an admin.

Each way first chooses the password without a transaction, because hashing takes time, and then sets it in one.
"""

from uuid import UUID

from models.auth import email_tokens, passwords
from models.auth.password_hashing import PasswordHasher
from models.auth.password_history import PasswordHistory
from models.auth.sessions import Session
from models.auth.users import Membership, User
from models.platform import audit
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.database import in_transaction, release
from models.platform.errors import Conflict, Forbidden, NotFound
from models.platform.principal import RANK, Principal
from models.platform.settings import settings


class PasswordChangedMeanwhile(Conflict):
    code, message = "password_changed_meanwhile", "The password was changed by another request meanwhile."


class UserNotFound(NotFound):
    code, message = "user_not_found", "Unknown user."


class ResetNotAllowed(Forbidden):
    code = "reset_not_allowed"


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
    """Store the new hash, unlock the account and end all of the user's sessions.

    `reason` goes into the audit log (as `auth.<reason>`) and into the ended sessions. Raises PasswordChangedMeanwhile if
    the password is no longer the one in `user`.
    """
    unlocked = {"failures": 0, "failed_at": None, "locked_until": None}
    if not User.update(password_hash=password_hash, **unlocked).where(user.password_is_unchanged).execute():
        raise PasswordChangedMeanwhile()
    PasswordHistory.remember(user.id, user.password_hash, settings.auth_password_history_count)
    Session.revoke(Session.user_id == user.id, reason)
    audit.record(f"auth.{reason}", by, f"user:{user.id}", client=client)


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
    email_tokens.revoke(user.id, email_tokens.RESET_PASSWORD)


def user_to_reset(admin: Principal, user_id: UUID) -> User:
    """A user whose password the admin may set: of lower rank in the admin's tenant, and in no other tenant.

    Raises UserNotFound or ResetNotAllowed.
    """
    memberships = Membership.of_user(user_id)
    roles_here = [membership.role for membership in memberships if membership.tenant_id == admin.tenant_id]
    if not roles_here:
        raise UserNotFound()
    if RANK.get(roles_here[0], 0) >= RANK[admin.role]:
        raise ResetNotAllowed("Only somebody with a higher role can set this user's password.")
    if len(memberships) > 1:
        raise ResetNotAllowed("This user belongs to other tenants too: have them reset the password by mail.")
    return User.get_by_id(user_id)
