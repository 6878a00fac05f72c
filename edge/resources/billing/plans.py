"""The plans that are on sale."""

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.billing.plans import BillingPlanResponse, PlanFeatureResponse
from models.auth.tenants import Plan
from models.billing import plans
from models.billing.plans import PlanFeature
from models.platform.authorization import PUBLIC


class Plans:
    @endpoint("List Billing Plans", "billing", action=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> list[BillingPlanResponse]:
        """The plans that are on sale, the cheapest first."""
        return [_response(plan, features) for plan, features in plans.on_sale()]


def _response(plan: Plan, features: list[PlanFeature]) -> BillingPlanResponse:
    return BillingPlanResponse(
        code=plan.code,
        name=plan.name,
        interval=plan.interval,
        interval_count=plan.interval_count,
        price_cents=plan.price_cents,
        currency=plan.currency,
        trial_days=plan.trial_days,
        seat_included=plan.seats_included,
        feature_toggles=plan.toggles,
        is_active=plan.is_active,
        features=[_feature(feature) for feature in features],
        extra_seat_cents=plan.extra_seat_cents,
    )


def _feature(feature: PlanFeature) -> PlanFeatureResponse:
    return PlanFeatureResponse(
        key=feature.key,
        display_name=feature.display_name,
        description=feature.description,
        hard_limit=feature.hard,
        soft_limit=feature.soft,
        is_metered=feature.is_metered,
        unit=feature.unit,
        included=feature.included,
        unit_cents=None if feature.unit_cents is None else f"{feature.unit_cents.normalize():f}",
    )
