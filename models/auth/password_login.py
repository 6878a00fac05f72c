"""Proving one's identity by e-mail address and password, and logging in with them."""

from uuid import UUID

from models.auth import lockout
from models.auth.email_addresses import normalize_email
from models.auth.password_hashing import PasswordHasher
from models.auth.session_tokens import open_session
from models.auth.tokens import IssuedTokens
from models.auth.users import Membership, User
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.database import in_transaction, release, transaction
from models.platform.errors import Locked, NotAuthenticated
from models.platform.principal import Principal


class InvalidCredentials(NotAuthenticated):
    """`locked_user_id`: the user whose account this attempt has locked, so that the caller can mail them; or None."""

    code, message = "invalid_credentials", "Invalid email or password."

    def __init__(self, locked_user_id: UUID | None = None):
        super().__init__()
        self.locked_user_id = locked_user_id


class WrongPassword(InvalidCredentials):
    code, message = "invalid_password", "Invalid current password."


def log_in(
    email: str,
    password: str,
    tenant_id: str | None = None,
    *,
    hasher: PasswordHasher,
    client: ClientInfo = UNKNOWN_CLIENT,
) -> IssuedTokens:
    """Open a session in the given tenant, or in the user's only one.

    Raises what `authenticate`, `Membership.for_session` and `User.require_active` raise.
    """
    user = authenticate(email, password, hasher=hasher, client=client)
    membership = Membership.for_session(user.id, tenant_id)
    user.require_active()
    with transaction():
        require_unchanged_password(user)
        return open_session(user, membership, client)


def authenticate(email: str, password: str, *, hasher: PasswordHasher, client: ClientInfo = UNKNOWN_CLIENT) -> User:
    """The user with this address and password.

    Raises InvalidCredentials, Locked (for the right password only), or QuotaExceeded for a throttled network. Errors and
    timing reveal nothing about an account to somebody who does not know its password.
    """
    email = normalize_email(email)
    lockout.refuse_throttled_network(client)
    user = User.by_email(email)
    release()
    matches = hasher.verify(user.password_hash if user else None, password)
    if user is None or not matches:
        raise InvalidCredentials(lockout.record_failure(email, user, client))
    # Check the lock only now: of many parallel guesses, none may succeed after the one that locked the account.
    if not lockout.clear_failures(user.id):
        raise Locked()
    _upgrade_hash(user, password, hasher)
    return user


def confirm_password(
    principal: Principal, password: str, *, hasher: PasswordHasher, client: ClientInfo = UNKNOWN_CLIENT
) -> User:
    """The caller's user, if this is their password. Failures count like failed logins.

    Raises WrongPassword instead of InvalidCredentials.
    """
    user = User.get_or_none(User.id == principal.user_id)
    if user is None:
        raise NotAuthenticated("Unknown user.")
    try:
        return authenticate(user.email, password, hasher=hasher, client=client)
    except InvalidCredentials as error:
        raise WrongPassword(error.locked_user_id) from None


@in_transaction
def require_unchanged_password(user: User) -> None:
    """Block password changes until the transaction ends, so that a change made from now on also ends the new session.

    Raises InvalidCredentials if the password was changed after `authenticate` had read it.
    """
    query = User.select(User.id).where(user.password_is_unchanged)
    if query.for_update("FOR SHARE").first() is None:  # type: ignore[arg-type]  # peewee takes the lock's name
        raise InvalidCredentials()


def _upgrade_hash(user: User, password: str, hasher: PasswordHasher) -> None:
    """Replace a hash made with outdated parameters, unless the password was changed meanwhile."""
    if not hasher.is_outdated(user.password_hash):
        return
    password_hash = hasher.hash(password)
    if User.update(password_hash=password_hash).where(user.password_is_unchanged).execute():
        user.password_hash = password_hash
