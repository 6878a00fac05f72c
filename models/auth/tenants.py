"""Tenants, and the plans that they are on."""

import re
import secrets
import unicodedata

from peewee import CharField, ForeignKeyField, IntegerField

from models.platform.database import in_transaction
from models.platform.errors import Conflict, NotFound
from models.platform.model import DateTimeTZField, Model

SLUG_LENGTH, SLUG_ATTEMPTS = 57, 10  # with its suffix a slug has at most 62 characters


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


def slug_of(name: str) -> str:
    """Lower-case ASCII letters, digits and dashes; accents are dropped."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", plain).strip("-")[:SLUG_LENGTH].strip("-") or "tenant"
