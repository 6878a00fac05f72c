"""Tenants, users and their memberships."""

import re
import secrets
import unicodedata
from uuid import UUID

from peewee import CharField, ForeignKeyField, IntegerField, TextField, fn

from models.base import DateTimeTZField, Model, in_transaction, now
from models.errors import Conflict, Forbidden, Locked, NotFound

SLUG_LENGTH, SLUG_ATTEMPTS = 57, 10  # with its suffix a slug has at most 62 characters


class AccountNotActive(Forbidden):
    code = "account_not_active"


class EmailTaken(Conflict):
    code, message = "email_taken", "Email already registered."


class SlugsTaken(Conflict):
    code, message = "slug_unavailable", "Unable to allocate a unique tenant slug."


class PlanNotFound(NotFound):
    code = "plan_not_found"


class Plan(Model):
    id = None
    code = CharField(primary_key=True)
    name = CharField()
    trial_days = IntegerField(default=0)

    @classmethod
    def known(cls, code: str) -> "Plan":
        plan = cls.get_or_none(cls.code == code)
        if plan is None:
            raise PlanNotFound(f"Plan '{code}' not found.")
        return plan


class Tenant(Model):
    slug = CharField(unique=True)
    name = CharField()
    plan = ForeignKeyField(Plan, column_name="plan_code", null=True, lazy_load=False)
    trial_ends_at = DateTimeTZField(null=True)

    @classmethod
    @in_transaction
    def open(cls, name: str, **more) -> "Tenant":
        """In the caller's transaction: a new tenant, its slug made of its name and unlike all others."""
        slug = slug_of(name)
        for attempt in range(SLUG_ATTEMPTS):
            tried = f"{slug}-{secrets.token_hex(2)}" if attempt else slug
            made = cls.insert(slug=tried, name=name, **more).on_conflict_ignore().returning(cls).execute()
            if rows := list(made):
                return rows[0]
        raise SlugsTaken()


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

    def require_active(self) -> None:
        if self.locked_until and self.locked_until > now():
            raise Locked()
        if self.status != "active":
            raise AccountNotActive(f"User is {self.status}.")


class Membership(Model):
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    tenant = ForeignKeyField(Tenant, on_delete="CASCADE", lazy_load=False)
    role = CharField()


def slug_of(name: str) -> str:
    """Lower-case ASCII letters, digits and dashes; accents are dropped."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", plain).strip("-")[:SLUG_LENGTH].strip("-") or "tenant"


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
