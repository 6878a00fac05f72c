"""What becomes of a container: made, refreshed, expired, replaced. Each step is one conditional statement, whoever comes first."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from models.containers.container import CREATING, EXPIRED, FAILED, RUNNING, Container
from models.platform.clock import now
from models.platform.database import in_transaction

FRESH_SECONDS = 60  # for which nobody asks the provider again


class Snapshot(NamedTuple):
    """A container as the provider has it. `status`: such as running or expired."""

    provider_id: str
    status: str
    last_active_at: datetime | None


def of_provider(status: str) -> str:
    """Our status for one of the provider's."""
    return {"expired": EXPIRED, "deleted": EXPIRED, "failed": FAILED}.get(status, RUNNING)


@in_transaction
def made(container: Container, found: Snapshot) -> bool:
    """The provider has made this generation. False if the container was deleted or replaced meanwhile: then nobody needs it."""
    return _change(
        container,
        (Container.status == CREATING) & Container.deleted_at.is_null(),
        provider_id=found.provider_id,
        status=of_provider(found.status),
        last_active_at=found.last_active_at,
        synced_at=now(),
        error_code=None,
    )


@in_transaction
def failed(container: Container, code: str) -> bool:
    """This generation cannot be made."""
    return _change(
        container, (Container.status == CREATING) & Container.deleted_at.is_null(), status=FAILED, error_code=code
    )


@in_transaction
def refreshed(container: Container, found: Snapshot | None) -> bool:
    """What the provider says of this generation; None: it does not know it any more."""
    if found is None:
        return _change(container, Container.status == RUNNING, status=EXPIRED, synced_at=now())
    values: dict[str, Any] = {"status": of_provider(found.status), "last_active_at": found.last_active_at}
    return _change(container, Container.status == RUNNING, **values, synced_at=now())


@in_transaction
def replace(container: Container) -> Container | None:
    """Begin the next generation of a container that is gone at the provider. None if somebody else has, or it is deleted."""
    is_gone = Container.status.in_((RUNNING, EXPIRED, FAILED)) & Container.deleted_at.is_null()
    begun = {"generation": container.generation + 1, "status": CREATING, "provider_id": None, "error_code": None}
    return Container.live(container.id) if _change(container, is_gone, **begun) else None


@in_transaction
def claim_refresh(container: Container) -> bool:
    """Whether this caller is the one who has the provider asked now: once in FRESH_SECONDS, and only for one that runs."""
    latest = now() - timedelta(seconds=FRESH_SECONDS)
    is_due = (Container.status == RUNNING) & Container.deleted_at.is_null()
    is_due &= Container.synced_at.is_null() | (Container.synced_at < latest)
    is_due &= Container.asked_at.is_null() | (Container.asked_at < latest)
    return _change(container, is_due, asked_at=now())


def due(seconds: float, limit: int) -> list[UUID]:
    """The running containers whose last news are older than this, the oldest first."""
    latest = now() - timedelta(seconds=seconds)
    is_due = (Container.status == RUNNING) & Container.deleted_at.is_null()
    is_due &= Container.synced_at.is_null() | (Container.synced_at < latest)
    rows = Container.select(Container.id).where(is_due).order_by(Container.synced_at.asc(nulls="first")).limit(limit)
    return [row.id for row in rows]


@in_transaction
def _change(container: Container, condition: Any, **values: Any) -> bool:
    is_it = (Container.id == container.id) & (Container.generation == container.generation)
    return bool(Container.update(**values, updated_at=now()).where(is_it & condition).execute())
