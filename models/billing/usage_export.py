"""Usage of tenants against the limits of their plans, for operators."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from models.auth.tenants import Tenant
from models.billing import usage_notices, usage_totals
from models.billing.usage_windows import Window, month
from models.platform.clock import iso

STATUS = {None: "within", 80: "approaching", 100: "exceeded"}


class ExportRow(NamedTuple):
    """`status`: within, approaching (from 80 % of the limit), exceeded (from 100 %), or unlimited."""

    tenant: str
    tenant_id: UUID
    plan: str
    feature: str
    window_start: str
    window_end: str
    used: int
    soft_limit: int | None
    hard_limit: int | None
    status: str


def rows(tenant: str | None = None, plan: str | None = None, window: Window | None = None) -> Iterator[ExportRow]:
    """A row per tenant and feature. `tenant`: a slug. `window`: the default is the present one of each tenant."""
    query = Tenant.select().order_by(Tenant.slug)
    if tenant is not None:
        query = query.where(Tenant.slug == tenant)
    for found in query:
        totals = usage_totals.of_tenant(found.id, window)
        if plan is not None and totals.plan_code != plan:
            continue
        for total in totals.features:
            limit = total.limit
            has_limit = limit is not None and (limit.hard is not None or limit.soft is not None)
            yield ExportRow(
                found.slug,
                found.id,
                totals.plan_code or "",
                total.feature,
                iso(totals.window.start),
                iso(totals.window.end),
                total.used,
                limit.soft if limit else None,
                limit.hard if limit else None,
                STATUS[usage_notices.percent_of(total)] if has_limit else "unlimited",
            )


def month_of(text: str) -> Window:
    """The calendar month that is written as 2026-11. ValueError."""
    return month(datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC))
