"""What a tenant is told that may not go on: it has reached a limit of its plan, or has no live subscription."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from models.billing.plans import PlanFeature
from models.billing.usage_windows import Window
from models.platform.clock import iso, now
from models.platform.errors import DomainError, RateLimited
from models.runs.holds import Reached

LEVEL_RETRY_SECONDS = 60  # a level falls when something is deleted


class UsageLimitExceeded(RateLimited):
    code = "usage_limit_exceeded"
    is_detail = True

    def __init__(
        self, tenant_id: UUID, limits: Sequence[PlanFeature], reached: Sequence[Reached], window: Window
    ) -> None:
        """`reached`: the limits that refuse, at least one, in the order of `limits`."""
        of = {limit.key: limit for limit in limits}
        breaches = [_breach(of[one.feature], one, window) for one in reached]
        first = breaches[0]
        text = f"The plan's limit of {first['limit_value']} {first['unit']} is reached."
        if first["window_end"]:
            text += f" It starts again at {first['window_end']}."
        super().__init__(
            text,
            retry_after=round((window.end - now()).total_seconds()) + 1 if first["window_end"] else LEVEL_RETRY_SECONDS,
            details={
                "code": self.code,
                "message": text,
                "tenant_id": str(tenant_id),
                "plan_code": limits[0].plan_code,
                **first,
                "breaches": breaches,
            },
        )


class NoUsagePolicy(DomainError):
    """The tenant has no subscription, so nothing says what it may use."""

    status, code, is_detail = 402, "usage_policy_configuration_error", True
    message = "There is no subscription. Start one to go on."

    def __init__(self, tenant_id: UUID) -> None:
        super().__init__(details={"code": self.code, "message": self.message, "tenant_id": str(tenant_id)})


class SubscriptionInactive(DomainError):
    status, code, is_detail = 402, "subscription_inactive", True
    message = "The subscription is not active."

    def __init__(self, tenant_id: UUID, status: str, until: datetime | None = None) -> None:
        text = f"The subscription is not active: it is {status}."
        if until is not None:
            text = f"A payment has failed, and its time has passed at {iso(until)}."
        details = {"code": self.code, "message": text, "tenant_id": str(tenant_id), "subscription_status": status}
        super().__init__(text, details=details)


def _breach(limit: PlanFeature, reached: Reached, window: Window) -> dict[str, Any]:
    return {
        "feature_key": reached.feature,
        "limit_type": reached.kind,
        "limit_value": reached.limit,
        "usage": reached.used,
        "unit": limit.unit,
        "window_start": iso(window.start) if limit.is_metered else None,
        "window_end": iso(window.end) if limit.is_metered else None,
    }
