"""A tenant as Stripe's customer. A tenant has one, made when it is first needed and used from then on."""

from datetime import datetime
from uuid import UUID

from peewee import BigIntegerField, CharField, UUIDField, fn

from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.platform.model import DateTimeTZField, Model

# A trial that Stripe knows of counts too: it may have begun on Stripe's own pages.
TRIAL_USED = """
select exists (select 1 from billing_customer where tenant_id = %(tenant)s and trial_used_at is not null)
    or exists (select 1 from stripe_subscription where tenant_id = %(tenant)s and object->>'trial_start' is not null)"""


class BillingCustomer(Model):
    """`position`: of the tenant's newest billing event (models/billing/events.py)."""

    id = None  # type: ignore[assignment]  # the tenant is the key
    tenant_id = UUIDField(primary_key=True)
    stripe_customer_id = CharField(null=True)  # None: not made at Stripe yet
    email = CharField(null=True)
    trial_used_at = DateTimeTZField(null=True)
    position = BigIntegerField(default=0)

    @classmethod
    def of_tenant(cls, tenant_id: UUID) -> "BillingCustomer":
        """The tenant's row, made if it is missing."""
        cls.insert(tenant_id=tenant_id).on_conflict_ignore().execute()
        return cls.get_by_id(tenant_id)

    @classmethod
    def stripe_id(cls, tenant_id: UUID) -> str | None:
        found = cls.get_or_none(cls.tenant_id == tenant_id)
        return found.stripe_customer_id if found else None

    @classmethod
    def keep_stripe_id(cls, tenant_id: UUID, stripe_customer_id: str) -> None:
        """Remember the customer that Stripe has made. The first one stays."""
        row = cls.insert(tenant_id=tenant_id, stripe_customer_id=stripe_customer_id)
        kept = fn.coalesce(cls.stripe_customer_id, stripe_customer_id)
        row.on_conflict(conflict_target=[cls.tenant_id], update={cls.stripe_customer_id: kept}).execute()

    @classmethod
    @in_transaction
    def keep_email(cls, tenant_id: UUID, email: str) -> None:
        cls.of_tenant(tenant_id)
        cls.update(email=email).where(cls.tenant_id == tenant_id).execute()

    @classmethod
    @in_transaction
    def use_trial(cls, tenant_id: UUID, at: datetime | None = None) -> None:
        """A tenant has one trial: it has begun."""
        cls.of_tenant(tenant_id)
        is_unused = (cls.tenant_id == tenant_id) & cls.trial_used_at.is_null()
        cls.update(trial_used_at=at or now()).where(is_unused).execute()


def has_used_trial(tenant_id: UUID) -> bool:
    return bool(database.execute_sql(TRIAL_USED, {"tenant": tenant_id}).fetchone()[0])
