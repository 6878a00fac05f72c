"""Users and their memberships."""

from dataclasses import dataclass
from uuid import UUID

from peewee import CharField, ForeignKeyField, IntegerField, TextField, fn

from models.auth.tenants import Tenant
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import Conflict, Forbidden, Locked, NotAuthenticated
from models.platform.model import DateTimeTZField, Model


class AccountNotActive(Forbidden):
    code = "account_not_active"


class EmailTaken(Conflict):
    code, message = "email_taken", "Email already registered."


class User(Model):
    email = CharField()
    password_hash = TextField()
    status = CharField(default="active")
    display_name = CharField(null=True)
    email_verified_at = DateTimeTZField(null=True)
    failures = IntegerField(default=0)  # wrong passwords since the last right one
    failed_at = DateTimeTZField(null=True)
    locked_until = DateTimeTZField(null=True)

    class Meta:
        table_name = "users"

    @classmethod
    def by_email(cls, email: str) -> "User | None":
        return cls.get_or_none(fn.lower(cls.email) == email.strip().lower())

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
        """In the caller's transaction: a new user and the membership. EmailTaken if the address has an account."""
        made = cls.insert(
            email=email.strip().lower(),
            password_hash=password_hash,
            display_name=display_name,
            email_verified_at=now() if verified else None,
        )
        rows = list(made.on_conflict_ignore().returning(cls).execute())
        if not rows:
            raise EmailTaken()
        Membership.create(user=rows[0].id, tenant=tenant.id, role=role)
        return rows[0]

    @classmethod
    def with_memberships(cls, user_id: UUID | None) -> tuple["User", list["MembershipSummary"]]:
        """The user and where they belong, by slug. NotAuthenticated when the user or every membership is gone."""
        rows = list(
            cls.select(cls, Tenant.id.alias("tenant_id"), Tenant.slug, Tenant.name, Membership.role)
            .join(Membership, on=(Membership.user == cls.id))
            .join(Tenant, on=(Membership.tenant == Tenant.id))
            .where(cls.id == user_id)
            .order_by(Tenant.slug)
            .objects()
        )
        if not rows:
            raise NotAuthenticated("Unknown user.")
        return rows[0], [MembershipSummary(row.tenant_id, row.slug, row.name, row.role) for row in rows]

    def require_active(self) -> None:
        if self.locked_until and self.locked_until > now():
            raise Locked()
        if self.status != "active":
            raise AccountNotActive(f"User is {self.status}.")


@dataclass(frozen=True, slots=True)
class MembershipSummary:
    tenant_id: UUID
    slug: str
    name: str
    role: str


class Membership(Model):
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    tenant = ForeignKeyField(Tenant, on_delete="CASCADE", lazy_load=False)
    role = CharField()
