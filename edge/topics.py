"""What clients can follow: the events of a run, or those of a tenant's billing. Each has a stream in Redis."""

from typing import NamedTuple
from uuid import UUID

from models.billing import events
from models.runs import progress

RUN, BILLING = "run", "billing"


class Topic(NamedTuple):
    """`key`: of the stream. `id`: of the run, or of the tenant."""

    kind: str
    id: UUID
    key: bytes


def of_run(run_id: UUID) -> Topic:
    return Topic(RUN, run_id, progress.stream_key(run_id).encode())


def of_billing(tenant_id: UUID) -> Topic:
    return Topic(BILLING, tenant_id, events.stream_key(tenant_id).encode())
