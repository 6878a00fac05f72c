"""Subscriptions: a row per tenant, which says what Stripe last said of the subscription that counts. Reads never call Stripe.

What a caller has asked for and Stripe has not confirmed yet is an open operation: models/billing/operations.py.
"""

from typing import Any
from uuid import UUID

from peewee import BooleanField, CharField, IntegerField

from models.platform.authorization import BILLING_READ
from models.platform.clock import now
from models.platform.errors import NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel

TRIALING, ACTIVE, PAST_DUE, UNPAID = "trialing", "active", "past_due", "unpaid"
INCOMPLETE, INCOMPLETE_EXPIRED, PAUSED, CANCELED = "incomplete", "incomplete_expired", "paused", "canceled"
ENDED = (CANCELED, INCOMPLETE_EXPIRED)  # states after which a tenant may start again


class SubscriptionNotFound(NotFound):
    code, message = "subscription_not_found", "Subscription not found."


class Subscription(TenantModel):
    owner, reading = None, BILLING_READ
    plan_code = CharField()
    status = CharField()
    auto_renew = BooleanField(default=True)
    billing_email = CharField(null=True)
    seat_count = IntegerField(null=True)
    starts_at = DateTimeTZField(default=now)
    current_period_start = DateTimeTZField(null=True)
    current_period_end = DateTimeTZField(null=True)
    counts_from = DateTimeTZField(null=True)  # of usage: before the period, if a free plan was ended and started again
    trial_ends_at = DateTimeTZField(null=True)
    cancel_at = DateTimeTZField(null=True)
    ended_at = DateTimeTZField(null=True)
    past_due_since = DateTimeTZField(null=True)
    stripe_subscription_id = CharField(null=True)
    metadata: dict[str, Any] = BinaryJSONField(default=dict)
    updated_at = DateTimeTZField(default=now)

    @classmethod
    def of_tenant(cls, tenant_id: UUID) -> "Subscription | None":
        found: Subscription | None = cls.get_or_none(cls.tenant_id == tenant_id)
        return found

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED
