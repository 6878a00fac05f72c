"""The platform's own operators: scopes that no membership gives. `python -m models operators` manages them."""

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from peewee import CharField, ForeignKeyField

from models.auth import passwords
from models.auth.password_hashing import PasswordHasher
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.auth.users import User
from models.platform import audit
from models.platform.authorization import OPERATOR_GRANT, OPERATOR_REVOKE, Caller, Rights, require
from models.platform.database import transaction
from models.platform.errors import NotFound
from models.platform.model import Model
from models.platform.principal import ANY_SCOPE, OPERATOR, Root

GRANTABLE = (*OPERATOR, ANY_SCOPE)


class OperatorNotFound(NotFound):
    code = "operator_unknown"


class OperatorGrant(Model):
    """A scope that a user has in every tenant, in addition to those of the membership."""

    user_id: UUID
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    scope = CharField()


@dataclass(frozen=True, slots=True)
class Operator:
    user: User
    scopes: list[str]  # sorted


def scopes_of(user_id: UUID) -> list[str]:
    """The operator scopes of a user; empty for most."""
    return [grant.scope for grant in OperatorGrant.select(OperatorGrant.scope).where(OperatorGrant.user == user_id)]


def list_operators() -> list[Operator]:
    """All operators, by e-mail address."""
    scopes: dict[UUID, list[str]] = defaultdict(list)
    for grant in OperatorGrant.select():
        scopes[grant.user_id].append(grant.scope)
    users = User.select().where(User.id.in_(list(scopes))).order_by(User.email)
    return [Operator(user, sorted(scopes[user.id])) for user in users]


def operators_with(scope: str) -> list[Operator]:
    """The operators who have this scope, or any scope."""
    return [operator for operator in list_operators() if {scope, ANY_SCOPE} & set(operator.scopes)]


def grant(email: str, scopes: list[str], *, by: Caller) -> User:
    """Give a user operator scopes, which their tokens name from the next login or refresh on.

    An operator gives only what they hold; a shell is a root of trust and gives anything. Raises OutOfReach,
    OperatorNotFound if no account has this address, or PasswordNotTheirs.
    """
    require(by, OPERATOR_GRANT, Rights(None, frozenset(scopes)))
    with transaction():
        user = _user_by_email(email)
        User.lock(user.id)
        user.require_own_password()
        grants = [{"user": user.id, "scope": scope} for scope in scopes]
        OperatorGrant.insert_many(grants).on_conflict_ignore().execute()
        audit.record("operator.granted", by, f"user:{user.id}", scopes=sorted(scopes))
        return user


def revoke(email: str, scopes: list[str], *, by: Caller) -> User:
    """Take operator scopes away, and end the user's sessions: their tokens still name the scopes.

    Raises OutOfReach, or OperatorNotFound if no account has this address, or the user has none of the scopes.
    """
    require(by, OPERATOR_REVOKE, Rights(None, frozenset(scopes)))
    with transaction():
        user = _user_by_email(email)
        revoked = (OperatorGrant.user == user.id) & OperatorGrant.scope.in_(scopes)
        if not OperatorGrant.delete().where(revoked).execute():
            raise OperatorNotFound(f"{user.email} does not hold {', '.join(scopes)}.")
        Session.revoke(Session.user == user.id, "operator_revoked")
        audit.record("operator.revoked", by, f"user:{user.id}", scopes=sorted(scopes))
        return user


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


def _user_by_email(email: str) -> User:
    user = User.by_email(email)
    if user is None:
        raise OperatorNotFound(f"No account exists for {email}. Create one with: create {email}")
    return user
