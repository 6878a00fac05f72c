"""Tenants, and the plans that they are on."""

import re
import secrets
import unicodedata
from typing import Any

from peewee import BooleanField, CharField, ForeignKeyField, IntegerField

from models.platform.database import in_transaction
from models.platform.errors import Conflict, NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, Model

SLUG_LENGTH, SLUG_ATTEMPTS = 57, 10  # with its suffix a slug has at most 62 characters


class SlugUnavailable(Conflict):
    code, message = "slug_unavailable", "Unable to allocate a unique tenant slug."


class PlanNotFound(NotFound):
    code = "plan_not_found"


class PlanNotSold(Conflict):
    code = "plan_not_sold"


class Plan(Model):
    """What is sold: a line of the plan file (models/billing/plan_file.py), which alone changes these rows."""

    id = None  # type: ignore[assignment]  # the code is the key
    code = CharField(primary_key=True)
    name = CharField()
    price_cents = IntegerField(default=0)  # for an interval, with the included seats
    currency = CharField(default="USD")
    interval = CharField(default="monthly")  # daily, weekly, monthly or yearly
    interval_count = IntegerField(default=1)
    seats_included = IntegerField(null=True)  # None until the plan file has been read
    extra_seat_cents = IntegerField(null=True)  # for an interval; None: no further seats are sold
    trial_days = IntegerField(default=0)
    toggles: dict[str, bool] = BinaryJSONField(default=dict)
    is_active = BooleanField(default=True)  # on sale
    jobs_at_once = IntegerField(null=True)  # of a tenant, with the workers of a queue; None: TENANT_JOBS_AT_ONCE

    @classmethod
    def by_code(cls, code: str) -> "Plan":
        """Raises PlanNotFound."""
        plan = cls.get_or_none(cls.code == code)
        if plan is None:
            raise PlanNotFound(f"Plan '{code[:64]}' not found.")
        return plan

    @classmethod
    def to_sell(cls, code: str) -> "Plan":
        """The plan, for somebody who wants it now. Raises PlanNotFound, or PlanNotSold (409) if it is not active."""
        plan = cls.by_code(code)
        if not plan.is_active:
            raise PlanNotSold(f"Plan '{code}' is not sold any more.")
        return plan


class Tenant(Model):
    plan_code: str | None
    slug = CharField(unique=True)
    name = CharField()
    plan = ForeignKeyField(Plan, column_name="plan_code", null=True, lazy_load=False)
    trial_ends_at = DateTimeTZField(null=True)
    seats = IntegerField(null=True)  # members that it may have; None: any number

    @classmethod
    @in_transaction
    def open(cls, name: str, **columns: Any) -> "Tenant":
        """Create a tenant. Its slug is made from its name, with a random suffix if that is taken.

        Raises SlugUnavailable if SLUG_ATTEMPTS slugs were all taken.
        """
        plain_slug = slugify(name)
        for attempt in range(SLUG_ATTEMPTS):
            slug = f"{plain_slug}-{secrets.token_hex(2)}" if attempt else plain_slug
            tenant = cls.insert_if_new(slug=slug, name=name, **columns)
            if tenant is not None:
                return tenant
        raise SlugUnavailable()


# NOTE: python-slugify needs text-unidecode (unmaintained since 2019, Artistic License or GPL), and makes other slugs.
def slugify(name: str) -> str:
    """The name in lower-case ASCII letters, digits and dashes, without accents; "tenant" if nothing is left of it."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", ascii_name).strip("-")[:SLUG_LENGTH].strip("-") or "tenant"
