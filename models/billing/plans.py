"""What plans allow and cost, as the rows say. The plan file is their source: models/billing/plan_file.py."""

import time
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from models.auth.tenants import Plan
from models.billing import stripe_prices
from models.billing.stripe_prices import SEATS
from models.platform.database import database
from models.platform.errors import Conflict, Unavailable
from models.platform.settings import settings

REMEMBERED_SECONDS = 10  # anybody may ask for the list, and it hardly ever changes
LIMITS = """
select plan_code, feature, coalesce(display_name, feature), description, unit, soft_limit, hard_limit, is_metered, included,
    unit_cents
from plan_limit order by plan_code, feature"""
LIMITS_OF_PLAN = LIMITS.replace("order by", "where plan_code = %(plan)s order by")
OF_TENANT = """
select soft_limit, hard_limit from plan_limit join tenant on tenant.plan_code = plan_limit.plan_code
where tenant.id = %(tenant_id)s and feature = %(feature)s"""
TOGGLE = """
select (toggles ->> %(name)s)::boolean from plan join tenant on tenant.plan_code = plan.code
where tenant.id = %(tenant_id)s"""


class SeatsNotSold(Conflict):
    code = "seats_not_sold"


class PlanNotPriced(Unavailable):
    """Nobody has run `python -m workers.billing plans sync` since the plan is in the plan file."""

    code = "plan_not_priced"


@dataclass(frozen=True, slots=True)
class PlanFeature:
    """What a plan says of one feature. `soft`, `hard`: None for no limit. If `is_metered`, they hold for each period of the
    subscription, and otherwise at any time. `included` units of a period are free, and each further one costs `unit_cents`;
    None: nothing is charged."""

    plan_code: str
    key: str
    display_name: str
    description: str | None
    unit: str
    soft: int | None
    hard: int | None
    is_metered: bool
    included: int | None
    unit_cents: Decimal | None


def on_sale() -> list[tuple[Plan, list[PlanFeature]]]:
    """The active plans by price, each with its features by key. Changes show after REMEMBERED_SECONDS."""
    return _on_sale(int(time.time() / REMEMBERED_SECONDS))


@lru_cache(maxsize=1)
def _on_sale(period: int) -> list[tuple[Plan, list[PlanFeature]]]:  # noqa: ARG001  (limits how long it is remembered)
    plans = list(Plan.select().where(Plan.is_active).order_by(Plan.price_cents, Plan.code))
    features = of_plans()
    return [(plan, [each for each in features if each.plan_code == plan.code]) for plan in plans]


def of_plans() -> list[PlanFeature]:
    """The features of all plans, by plan and key."""
    return [PlanFeature(*row) for row in database.execute_prepared(LIMITS, {}).fetchall()]


def of_plan(code: str) -> list[PlanFeature]:
    """The features of one plan, by key."""
    return [PlanFeature(*row) for row in database.execute_prepared(LIMITS_OF_PLAN, {"plan": code}).fetchall()]


def seats(plan: Plan, asked: int | None) -> int:
    """How many seats a subscription of the plan has: those that are asked for, by default those that are included.

    Raises SeatsNotSold (409) for more than the plan has.
    """
    included = plan.seats_included or 1
    if asked is not None and asked > included and plan.extra_seat_cents is None:
        raise SeatsNotSold(f"Plan '{plan.code}' has {included} seats, and no further ones are sold.")
    return included if asked is None else asked


def stripe_items(plan: Plan, seat_count: int) -> list[dict[str, Any]]:
    """The items of a new subscription at Stripe: the seats, whose quantity is their number, and what is metered.

    The price of the seats is graduated: all included seats together cost the plan's price, also if fewer are used, and each
    further one its own. The quantity is the number of seats in any case. Raises PlanNotPriced (503).
    """
    prices = stripe_prices.current(plan.code)
    if SEATS not in prices:
        raise PlanNotPriced(f"No Stripe price configured for plan '{plan.code}'.")
    metered = [{"price": price_id} for feature, price_id in prices.items() if feature != SEATS]
    return [{"price": prices[SEATS], "quantity": seat_count}, *metered]


def limit(tenant_id: UUID, feature: str) -> int | None:
    """The hard limit of a feature that is not counted in periods, such as `vector.max_file_bytes`.

    None if the plan has none, there is no plan, or billing is off: then the settings of the installation hold.
    """
    if not settings.enable_billing:
        return None
    row = database.execute_prepared(OF_TENANT, {"tenant_id": tenant_id, "feature": feature}).fetchone()
    return row[1] if row else None


def toggle(tenant_id: UUID | None, name: str) -> bool:
    """Whether the tenant's plan allows what the toggle is about, such as `enable_web_search`. Without billing, or a plan
    that says something of it: yes."""
    if not settings.enable_billing or tenant_id is None:
        return True
    row = database.execute_prepared(TOGGLE, {"tenant_id": tenant_id, "name": name}).fetchone()
    return row is None or row[0] is not False
