"""Users and their memberships in tenants."""

from dataclasses import dataclass
from uuid import UUID

from peewee import CharField, Expression, ForeignKeyField, TextField, fn

from models.auth.email_addresses import normalize_email
from models.auth.tenants import Tenant
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.platform.errors import BadRequest, Conflict, Forbidden, NotAuthenticated
from models.platform.ids import parse_uuid
from models.platform.model import DateTimeTZField, Model

PASSWORD_SET = ("auth.password_change", "auth.password_reset", "auth.password_reset_token")  # in the audit log
ACCOUNT_COLUMNS = ("id", "email", "display_name", "status", "email_verified_at", "created_at")
# Asked at every page load of most clients, so one fixed statement.
WITH_MEMBERSHIPS = f"""
select {", ".join(f"users.{column}" for column in ACCOUNT_COLUMNS)}, tenant.id, slug, name, role
from users join membership on membership.user_id = users.id join tenant on tenant.id = membership.tenant_id
where users.id = %(user_id)s order by slug"""  # noqa: S608  (made of constants)


class AccountNotActive(Forbidden):
    code = "account_not_active"


class EmailTaken(Conflict):
    code, message = "email_taken", "Email already registered."


class InvalidTenant(NotAuthenticated):
    code, message = "invalid_tenant", "Invalid tenant identifier supplied."


class NotAMember(NotAuthenticated):
    code, message = "not_a_member", "User is not a member of the requested tenant."


class PasswordNotTheirs(Conflict):
    code = "password_not_theirs"


class TenantRequired(BadRequest):
    """The user belongs to several tenants; `details` lists their ids."""

    code, message = "tenant_required", "Tenant context required for multi-tenant users."


class User(Model):
    email = CharField()
    password_hash = TextField()
    status = CharField(default="active")
    display_name = CharField(null=True)
    email_verified_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "users"

    @classmethod
    def by_email(cls, email: str) -> "User | None":
        """The user with this address, in whatever case it is written."""
        return cls.get_or_none(fn.lower(cls.email) == normalize_email(email))

    @classmethod
    @in_transaction
    def add(
        cls,
        email: str,
        password_hash: str,
        *,
        tenant: Tenant,
        role: str = "member",
        verified: bool = False,
        display_name: str | None = None,
    ) -> "User":
        """Create a user and their membership in a tenant. Raises EmailTaken if the address has an account."""
        user = cls.insert_if_new(
            email=normalize_email(email),
            password_hash=password_hash,
            display_name=display_name,
            email_verified_at=now() if verified else None,
        )
        if user is None:
            raise EmailTaken()
        Membership.create(user=user.id, tenant=tenant.id, role=role)
        return user

    @classmethod
    def with_memberships(cls, user_id: UUID | None) -> "tuple[User, list[MembershipSummary]]":
        """The user with ACCOUNT_COLUMNS, and their memberships by the tenant's slug. Raises NotAuthenticated without any."""
        rows = database.execute_prepared(WITH_MEMBERSHIPS, {"user_id": user_id}).fetchall()
        if not rows:
            raise NotAuthenticated("Unknown user.")
        columns = dict(zip(ACCOUNT_COLUMNS, rows[0], strict=False))
        memberships = [MembershipSummary(*row[len(ACCOUNT_COLUMNS) :]) for row in rows]
        return cls(__no_default__=True, **columns), memberships

    def require_active(self) -> None:
        """Raises AccountNotActive."""
        if self.status != "active":
            raise AccountNotActive(f"User is {self.status}.")

    @property
    def password_is_unchanged(self) -> Expression:
        """A condition for queries: this user's row still has the password hash that was read into this object."""
        return (User.id == self.id) & (User.password_hash == self.password_hash)

    @in_transaction
    def require_own_password(self) -> None:
        """Raises PasswordNotTheirs if somebody else has set the password: whoever did would get all that the user is given.

        The row must be locked, because an admin may be setting the password at this moment.
        """
        is_setting = (AuditEvent.subject == f"user:{self.id}") & AuditEvent.action.in_(PASSWORD_SET)
        event = AuditEvent.select().where(is_setting).order_by(AuditEvent.id.desc()).limit(1).get_or_none()
        if event is not None and event.actor != event.subject:
            raise PasswordNotTheirs(
                f"Somebody else has set the password of {self.email}. Let them choose their own first."
            )


@dataclass(frozen=True, slots=True)
class MembershipSummary:
    """A membership with the tenant's names."""

    tenant_id: UUID
    slug: str
    name: str
    role: str


class Membership(Model):
    user_id: UUID
    tenant_id: UUID
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    tenant = ForeignKeyField(Tenant, on_delete="CASCADE", lazy_load=False)
    role = CharField()

    @classmethod
    def of_user(cls, user_id: UUID) -> "list[Membership]":
        return list(cls.select().where(cls.user == user_id))

    @classmethod
    def for_session(cls, user_id: UUID, tenant_id: UUID | str | None) -> "Membership":
        """The membership in the given tenant; without a tenant, the only one that the user has.

        Raises InvalidTenant (not a UUID), NotAMember, or TenantRequired if the user has to say which tenant.
        """
        memberships = cls.of_user(user_id)
        if tenant_id:
            return cls._in_tenant(memberships, tenant_id)
        if not memberships:
            raise NotAMember("User is not assigned to any tenant.")
        if len(memberships) > 1:
            raise TenantRequired(details={"tenants": sorted(str(membership.tenant_id) for membership in memberships)})
        return memberships[0]

    @staticmethod
    def _in_tenant(memberships: "list[Membership]", tenant_id: UUID | str) -> "Membership":
        parsed_id = parse_uuid(tenant_id)
        if parsed_id is None:
            raise InvalidTenant()
        for membership in memberships:
            if membership.tenant_id == parsed_id:
                return membership
        raise NotAMember()
