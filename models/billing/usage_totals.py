"""What a tenant has used of each feature, next to the limits of its plan."""

from typing import NamedTuple
from uuid import UUID

from models.billing import counters, standing
from models.billing.plans import PlanFeature, of_plan
from models.billing.usage_windows import Window


class FeatureTotal(NamedTuple):
    """`limit`: None if the plan says nothing of the feature."""

    feature: str
    used: int
    limit: PlanFeature | None


class Totals(NamedTuple):
    plan_code: str | None
    window: Window
    features: list[FeatureTotal]


def of_tenant(tenant_id: UUID, window: Window | None = None) -> Totals:
    """The features of the tenant's plan and all others that it has used, by name. `window`: default is the present one."""
    present = standing.read(tenant_id)
    window = window or present.window
    limits = {limit.key: limit for limit in of_plan(present.plan_code)} if present.plan_code else {}
    used = counters.totals(tenant_id, window)
    levels = [feature for feature, limit in limits.items() if not limit.is_metered]
    used |= dict.fromkeys(levels, 0) | counters.levels(tenant_id, levels)
    names = sorted({*used, *limits})
    return Totals(
        present.plan_code, window, [FeatureTotal(name, used.get(name, 0), limits.get(name)) for name in names]
    )
