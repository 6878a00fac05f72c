"""The platform's own operators: scopes that no membership gives. `python -m models operators` manages them."""

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from peewee import CharField, ForeignKeyField

from models.auth import authority, passwords
from models.auth.password_hashing import PasswordHasher
from models.auth.tenants import Tenant
from models.auth.users import ACTIVE, User
from models.platform import audit
from models.platform.authorization import OPERATOR_GRANT, OPERATOR_REVOKE, Caller, Rights, require
from models.platform.database import transaction
from models.platform.errors import Conflict, NotFound
from models.platform.model import Model
from models.platform.principal import ANY_SCOPE, OPERATOR, Root

GRANTABLE = (*OPERATOR, ANY_SCOPE)


class OperatorNotFound(NotFound):
    code = "operator_unknown"


class AddressNotVerified(Conflict):
    code = "email_not_verified"


class OperatorGrant(Model):
    """A scope that a user has in every tenant, in addition to those of the membership, while their address is verified."""

    user_id: UUID
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    scope = CharField()


@dataclass(frozen=True, slots=True)
class Operator:
    user: User
    scopes: list[str]  # sorted

    @property
    def is_effective(self) -> bool:
        return self.user.email_verified_at is not None and self.user.status == ACTIVE


def scopes_of(user_id: UUID) -> list[str]:
    """The operator scopes that a user was granted; none for most."""
    return [grant.scope for grant in OperatorGrant.select(OperatorGrant.scope).where(OperatorGrant.user == user_id)]


def list_operators() -> list[Operator]:
    """All operators, by e-mail address."""
    scopes: dict[UUID, list[str]] = defaultdict(list)
    for grant in OperatorGrant.select():
        scopes[grant.user_id].append(grant.scope)
    users = User.select().where(User.id.in_(list(scopes))).order_by(User.email)
    return [Operator(user, sorted(scopes[user.id])) for user in users]


def operators_with(scope: str) -> list[Operator]:
    """The operators who can use this scope now."""
    return [
        operator for operator in list_operators() if operator.is_effective and {scope, ANY_SCOPE} & set(operator.scopes)
    ]


def grant(email: str, scopes: list[str], *, by: Caller) -> User:
    """Give a user operator scopes, which count at once.

    An operator gives only what they hold; a shell is a root of trust and gives anything. Raises OutOfReach,
    OperatorNotFound if no account has this address, AddressNotVerified (anybody can register any address), or
    PasswordNotTheirs.
    """
    require(by, OPERATOR_GRANT, Rights(None, frozenset(scopes)))
    with transaction():
        user = _lock_user(email)
        if user.email_verified_at is None:
            raise AddressNotVerified(f"{user.email} has not been verified by its user.")
        user.require_own_password()
        grants = [{"user": user.id, "scope": scope} for scope in scopes]
        OperatorGrant.insert_many(grants).on_conflict_ignore().execute()
        _record("operator.granted", user, scopes, by)
        return user


def revoke(email: str, scopes: list[str], *, by: Caller) -> User:
    """Take operator scopes away. Sessions go on without them, and service tokens lose what only these scopes could give.

    Raises OutOfReach, or OperatorNotFound if no account has this address, or the user has none of the scopes.
    """
    require(by, OPERATOR_REVOKE, Rights(None, frozenset(scopes)))
    with transaction():
        user = _lock_user(email)
        revoked = (OperatorGrant.user == user.id) & OperatorGrant.scope.in_(scopes)
        if not OperatorGrant.delete().where(revoked).execute():
            raise OperatorNotFound(f"{user.email} does not hold {', '.join(scopes)}.")
        _record("operator.revoked", user, scopes, by)
        return user


def _record(action: str, user: User, scopes: list[str], by: Caller) -> None:
    authority.changed(user.id)
    audit.record(action, by, f"user:{user.id}", scopes=sorted(scopes))


def create_account(email: str, password: str, tenant_name: str, *, by: Root, hasher: PasswordHasher) -> User:
    """The first account of a new installation: the verified owner of a tenant of its own.

    Raises PasswordRejected or EmailTaken.
    """
    password_hash = passwords.choose_password(password, email, hasher=hasher)
    with transaction():
        tenant = Tenant.open(tenant_name)
        user = User.add(email, password_hash, tenant=tenant, role="owner", verified=True)
        audit.record("operator.account_created", by, f"user:{user.id}", tenant_id=tenant.id)
        return user


def _lock_user(email: str) -> User:
    found = User.by_email(email)
    user = User.lock(found.id) if found else None
    if user is None:
        raise OperatorNotFound(f"No account exists for {email}. Create one with: create {email}")
    return user
