"""What a tenant has used, and what callers say that it has."""

from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.resources.billing.tenant import tenant_of
from edge.schemas.billing.usage import (
    UsageDayResponse,
    UsageFeatureResponse,
    UsageQuery,
    UsageRecordRequest,
    UsageResponse,
)
from edge.schemas.common import SuccessResponse
from models.billing import counters, reported_usage, usage_totals
from models.billing.usage_totals import FeatureTotal
from models.billing.usage_windows import Window
from models.containers import keeping as containers
from models.platform import limits
from models.platform.authorization import BILLING_MANAGE, BILLING_READ
from models.platform.database import transaction
from models.platform.settings import settings
from models.storage import limits as storage_limits
from models.vector_stores import limits as vector_store_limits

RECORDED = SuccessResponse(message="Usage recorded.")


class Usage:
    @endpoint("Get Usage", "billing", action=BILLING_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, tenant_id: str, query: UsageQuery) -> UsageResponse:
        """What was used of each feature in a window, with the plan's limits, and on each of its days.

        Beyond the contract.
        """
        tenant = tenant_of(req, tenant_id)
        window = Window(query.start, query.end) if query.start and query.end else None
        found = usage_totals.of_tenant(tenant, window)
        present = _present(tenant)
        return UsageResponse(
            plan_code=found.plan_code,
            window_start=found.window.start,
            window_end=found.window.end,
            features=[_feature(total, present) for total in found.features],
            days=[
                UsageDayResponse(feature_key=one.feature, day=one.day, quantity=one.quantity)
                for one in counters.by_day(tenant, found.window)
            ],
        )

    @endpoint("Record Usage", "billing", action=BILLING_MANAGE, status=202, tenant=True)
    def on_post(self, req: Request, resp: falcon.Response, tenant_id: str, body: UsageRecordRequest) -> SuccessResponse:
        """Count usage of a metered feature.

        It counts at the end of its period, which may be up to 34 days ago. A repeated `idempotency_key` is counted once;
        409 if its values differ.
        """
        principal, tenant = req.context.principal, tenant_of(req, tenant_id)
        limits.hit("billing_usage_per_minute", settings.usage_rate_limit_per_minute, 60, tenant)
        with transaction():
            reported_usage.report(
                tenant,
                principal.subject,
                body.feature_key,
                body.quantity,
                key=body.idempotency_key,
                period_start=body.period_start,
                period_end=body.period_end,
            )
        return RECORDED


def _present(tenant: UUID) -> dict[str, int]:
    """What the tenant has now of the features that are limited at any time."""
    return {
        storage_limits.TOTAL_BYTES: storage_limits.used_bytes(tenant),
        containers.PER_TENANT: containers.used(tenant),
        **vector_store_limits.used(tenant),
    }


def _feature(total: FeatureTotal, present: dict[str, int]) -> UsageFeatureResponse:
    limit = total.limit
    if limit is None:
        return UsageFeatureResponse(feature_key=total.feature, used=total.used)
    return UsageFeatureResponse(
        feature_key=total.feature,
        display_name=limit.display_name,
        unit=limit.unit,
        is_metered=limit.is_metered,
        used=total.used if limit.is_metered else present.get(total.feature, total.used),
        soft_limit=limit.soft,
        hard_limit=limit.hard,
    )
