"""Tenants, users and their memberships."""

from uuid import UUID

from peewee import CharField, ForeignKeyField, IntegerField, TextField, fn

from models.base import DateTimeTZField, Model, now
from models.errors import Forbidden, Locked
from models.passwords import hash_password


class AccountNotActive(Forbidden):
    code = "account_not_active"


class Tenant(Model):
    slug = CharField(unique=True)
    name = CharField()


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
    def register(
        cls,
        email: str,
        password: str,
        *,
        tenant: Tenant,
        role: str = "member",
        verified: bool = False,
        display_name: str | None = None,
    ) -> "User":
        user = cls.create(
            email=email.strip().lower(),
            password_hash=hash_password(password),
            display_name=display_name,
            email_verified_at=now() if verified else None,
        )
        Membership.create(user=user.id, tenant=tenant.id, role=role)
        return user

    def require_active(self) -> None:
        if self.locked_until and self.locked_until > now():
            raise Locked()
        if self.status != "active":
            raise AccountNotActive(f"User is {self.status}.")


class Membership(Model):
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    tenant = ForeignKeyField(Tenant, on_delete="CASCADE", lazy_load=False)
    role = CharField()


class PasswordHistory(Model):
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    password_hash = TextField()

    @classmethod
    def newest(cls, user_id: UUID, count: int) -> list[str]:
        query = cls.select(cls.password_hash).where(cls.user == user_id).order_by(cls.id.desc()).limit(max(0, count))
        return [row.password_hash for row in query]

    @classmethod
    def keep(cls, user_id: UUID, password_hash: str, count: int) -> None:
        """Remember a password that is given up, and forget all but the newest `count`."""
        cls.create(user=user_id, password_hash=password_hash)
        kept = cls.select(cls.id).where(cls.user == user_id).order_by(cls.id.desc()).limit(max(0, count))
        cls.delete().where((cls.user == user_id) & cls.id.not_in(kept)).execute()
