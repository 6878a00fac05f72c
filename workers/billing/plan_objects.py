"""What the plan file says, as Stripe's products and prices.

Each has an id or a lookup key that follows from the file, by which it is found again: never by its name.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from models.billing.plan_file import Limit, PlanEntry, PlanFile
from models.billing.stripe_prices import SEATS
from models.platform.json import encode_sorted

MARK = {"app": "longshore"}  # in the metadata of what is ours
PREFIX = "longshore_"  # of ids and names of meter events
INTERVALS = {"daily": "day", "weekly": "week", "monthly": "month", "yearly": "year"}
Params = dict[str, Any]


@dataclass(frozen=True)
class Product:
    """`params`: what it is at Stripe, without its id."""

    id: str
    params: Params


@dataclass(frozen=True)
class WantedPrice:
    """`params`: what it costs; Stripe never changes that. `feature`: SEATS for the plan's own price."""

    plan_code: str
    feature: str
    product_id: str
    params: Params

    @property
    def lookup_key(self) -> str:
        return ":".join(filter(None, ("longshore", self.plan_code, self.feature)))

    @property
    def metadata(self) -> Params:
        return {**MARK, "plan_code": self.plan_code, **({"feature_key": self.feature} if self.feature else {})}

    @property
    def digest(self) -> str:
        """Of what Stripe never changes."""
        return hashlib.sha256(encode_sorted([self.product_id, self.params])).hexdigest()[:16]

    def is_like(self, price: Params) -> bool:
        """Whether a price at Stripe costs the same."""
        return bool(_comparable({**self.params, "product": self.product_id}) == _comparable(price))


def event_name(feature: str) -> str:
    """The name of the meter events that report the feature's usage."""
    return f"{PREFIX}{feature}"


def plan_product(code: str) -> str:
    return f"{PREFIX}plan_{code}"


def feature_product(key: str) -> str:
    return f"{PREFIX}feature_{key}"


def metered(file: PlanFile) -> list[str]:
    """The features that need a meter."""
    return sorted({key for plan in file.plans.values() if plan.is_active for key in file.metered(plan)})


def products(file: PlanFile) -> Iterator[Product]:
    for code, plan in file.plans.items():
        if plan.is_active:
            yield Product(plan_product(code), {"name": plan.name, "metadata": {**MARK, "plan_code": code}})
    for key in metered(file):
        feature = file.features[key]
        params = {"name": feature.display_name, "unit_label": feature.unit, "metadata": {**MARK, "feature_key": key}}
        yield Product(feature_product(key), params)


def prices(file: PlanFile, meter_ids: dict[str, str]) -> Iterator[WantedPrice]:
    """`meter_ids`: of the metered features."""
    for code, plan in file.plans.items():
        if not plan.is_active:
            continue
        yield WantedPrice(code, SEATS, plan_product(code), _base(plan) | _seats(plan))
        for key, limit in file.metered(plan).items():
            params = _base(plan, meter=meter_ids[key]) | _usage(limit)
            yield WantedPrice(code, key, feature_product(key), params)


def _base(plan: PlanEntry, meter: str | None = None) -> Params:
    recurring = {"interval": INTERVALS[plan.interval], "interval_count": plan.interval_count}
    recurring |= {"usage_type": "metered", "meter": meter} if meter else {"usage_type": "licensed"}
    return {"currency": plan.currency.lower(), "recurring": recurring}


def _seats(plan: PlanEntry) -> Params:
    """All included seats together cost the plan's price, also if fewer are used; each further one costs its own."""
    included: Params = {"flat_amount": plan.price_cents}
    if plan.extra_seat_cents is None:
        return _tiers({"up_to": "inf", **included})
    further = {"up_to": "inf", "unit_amount": plan.extra_seat_cents}
    return _tiers({"up_to": plan.seats_included, **included}, further)


def _usage(limit: Limit) -> Params:
    each = format(limit.unit_cents or Decimal(0), "f")
    if not limit.included:
        return {"billing_scheme": "per_unit", "unit_amount_decimal": each}
    return _tiers({"up_to": limit.included, "unit_amount": 0}, {"up_to": "inf", "unit_amount_decimal": each})


def _tiers(*tiers: Params) -> Params:
    return {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": list(tiers)}


def _comparable(price: Params) -> Any:
    """What a price costs, in a form in which our parameters and Stripe's objects are equal if they mean the same."""
    recurring = price.get("recurring") or {}
    is_tiered = price["billing_scheme"] == "tiered"
    return (
        price["product"],
        price["currency"],
        *(recurring.get(name) for name in ("interval", "interval_count", "usage_type", "meter")),
        price["billing_scheme"],
        price.get("tiers_mode") if is_tiered else None,
        [_tier(tier) for tier in price.get("tiers") or ()] if is_tiered else _amount(price, "unit_amount"),
        price.get("transform_quantity"),
    )


def _tier(tier: Params) -> Any:
    up_to = tier.get("up_to")
    return None if up_to in ("inf", None) else int(up_to), _amount(tier, "flat_amount"), _amount(tier, "unit_amount")


def _amount(holder: Params, name: str) -> Decimal:
    exact, whole = holder.get(f"{name}_decimal"), holder.get(name)
    return Decimal(exact if exact is not None else whole or 0)
