"""The platform's own operators; `python -m models operators` makes the first one."""

from uuid import UUID

from peewee import CharField, ForeignKeyField

from models.auth import passwords
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.auth.users import User
from models.platform import audit
from models.platform.database import transaction
from models.platform.errors import NotFound
from models.platform.model import Model
from models.platform.principal import ANY_SCOPE, OPERATOR

GRANTABLE = (*OPERATOR, ANY_SCOPE)


class OperatorUnknown(NotFound):
    code = "operator_unknown"


class OperatorGrant(Model):
    """A scope that a user holds beside those of the membership, in whatever tenant they sign in to."""

    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    scope = CharField()


def scopes_of(user_id: UUID) -> list[str]:
    return [row.scope for row in OperatorGrant.select(OperatorGrant.scope).where(OperatorGrant.user == user_id)]


def everybody(scope: str | None = None) -> list[User]:
    """The operators, or those of them who hold a scope; each user has its `scopes`, sorted."""
    held: dict[UUID, list[str]] = {}
    for row in OperatorGrant.select():
        held.setdefault(row.user_id, []).append(row.scope)
    users = User.select().where(User.id.in_(list(held))).order_by(User.email)
    for user in users:
        user.scopes = sorted(held[user.id])
    return [user for user in users if scope is None or scope in user.scopes or ANY_SCOPE in user.scopes]


def grant(email: str, scopes: list[str], *, by: str) -> User:
    """Give a user operator scopes; they have them from their next sign-in or refresh on."""
    with transaction():
        user = _known(email)
        rows = [{"user": user.id, "scope": scope} for scope in scopes]
        OperatorGrant.insert_many(rows).on_conflict_ignore().execute()
        audit.record("operator.granted", by, f"user:{user.id}", scopes=sorted(scopes))
    return user


def revoke(email: str, scopes: list[str], *, by: str) -> User:
    """Take operator scopes away. The user's sessions end: their tokens still name them."""
    with transaction():
        user = _known(email)
        gone = (OperatorGrant.user == user.id) & OperatorGrant.scope.in_(scopes)
        if not OperatorGrant.delete().where(gone).execute():
            raise OperatorUnknown(f"{user.email} does not hold {', '.join(scopes)}.")
        Session.revoke(Session.user == user.id, "operator_revoked")
        audit.record("operator.revoked", by, f"user:{user.id}", scopes=sorted(scopes))
    return user


def create(email: str, password: str, tenant_name: str, *, by: str) -> User:
    """The first account of a new installation: the verified owner of a tenant of its own."""
    chosen = passwords.choose(password, email)
    with transaction():
        tenant = Tenant.open(tenant_name)
        user = User.add(email, chosen, tenant=tenant, role="owner", verified=True)
        audit.record("operator.account_created", by, f"user:{user.id}", tenant_id=tenant.id)
    return user


def _known(email: str) -> User:
    user = User.by_email(email)
    if user is None:
        raise OperatorUnknown(f"No account exists for {email}. Create one with: create {email}")
    return user
