"""Which subscriptions are told of an update."""

from collections.abc import Collection
from typing import TYPE_CHECKING
from uuid import UUID

from peewee import fn

from models.status.deliveries import PUBLIC, TENANT
from models.status.incidents import CRITICAL, MINOR
from models.status.subscriptions import ACTIVE, ALL, MAINTENANCE, MAJOR, StatusSubscription

if TYPE_CHECKING:
    from peewee import ModelSelect

# The filters that let an update through: by its severity, or by what an operator resends it as.
FILTERS = {
    MINOR: (ALL,),
    MAJOR: (ALL, MAJOR),
    CRITICAL: (ALL, MAJOR),
    MAINTENANCE: (ALL, MAINTENANCE),
    ALL: (ALL, MAJOR, MAINTENANCE),
}


def matching(
    severity: str,
    services: Collection[str],
    scope: str,
    tenant_id: UUID | None = None,
    after: UUID | None = None,
    limit: int = 1000,
) -> "ModelSelect[StatusSubscription]":
    """A query for the next active subscriptions in the order of their ids: those after the id `after`.

    `severity`: a key of FILTERS. `services`: keys of what is affected; none means all. `scope`: one of models.status.deliveries.
    """
    rows = StatusSubscription.select().where(
        (StatusSubscription.status == ACTIVE) & StatusSubscription.severity_filter.in_(FILTERS[severity])
    )
    if services:
        is_of_all = fn.jsonb_array_length(StatusSubscription.components) == 0
        rows = rows.where(is_of_all | StatusSubscription.components.contains_any(*services))  # type: ignore[attr-defined]
    if scope == PUBLIC:
        rows = rows.where(StatusSubscription.tenant_id.is_null())
    if scope == TENANT:
        rows = rows.where(StatusSubscription.tenant_id == tenant_id)
    if after is not None:
        rows = rows.where(StatusSubscription.id > after)
    return rows.order_by(StatusSubscription.id).limit(limit)
