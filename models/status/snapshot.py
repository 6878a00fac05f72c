"""The present snapshot: built at most once in STATUS_CACHE_SECONDS by all processes together, which share it in Redis.

A crowd is answered from memory. While Postgres is down, the last snapshot stays; its `generated_at` tells its age.
"""

import logging
import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import peewee
import redis
from playhouse.pool import MaxConnectionsExceeded
from pydantic import TypeAdapter, ValidationError

from models.platform.clock import now
from models.platform.database import database, release, transaction
from models.platform.errors import Unavailable
from models.platform.redis import fast_redis_client
from models.platform.settings import settings
from models.status import figures, headline, history, published
from models.status.services import Service, services
from models.status.views import Day, IncidentView, Metric, Overview, ServiceView, Snapshot, UpdateView

__all__ = ["Day", "IncidentView", "Metric", "Overview", "ServiceView", "Snapshot", "UpdateView", "current", "forget"]
log = logging.getLogger(__name__)
DAYS = 90
KEY = "status:snapshot:1"  # another number whenever the shape changes
BUILDER = f"{KEY}:builder"  # held by the process that builds the next one
KEPT_SECONDS = 7 * 86_400
BUILD_SECONDS = 5  # that Postgres may take for each query
RETRY_SECONDS = 1.0  # after a failure
WAIT_SECONDS = 2.0  # for a newer one
POSTGRES_ERRORS = (peewee.OperationalError, peewee.InterfaceError, MaxConnectionsExceeded)
_adapter = TypeAdapter(Snapshot)


class StatusUnavailable(Unavailable):
    code, message = "status_unavailable", "The status cannot be read at present. Retry shortly."


@dataclass(slots=True)
class _Held:
    snapshot: Snapshot | None = None
    until: float = 0.0  # of time.monotonic
    renewal: threading.Thread | None = None


_held = _Held()
_lock = threading.Lock()


def current() -> Snapshot:
    """The snapshot to show now. One caller at a time has it renewed, and waits for that a little; the others get the old one.

    StatusUnavailable (503) only if neither this process nor Redis has any, and Postgres is down.
    """
    if time.monotonic() >= _held.until:
        renewal, is_ours = _renewal()
        if is_ours or _held.snapshot is None:
            renewal.join(WAIT_SECONDS)
    if _held.snapshot is None:
        raise StatusUnavailable()
    return _held.snapshot


def _renewal() -> tuple[threading.Thread, bool]:
    """The thread that renews the snapshot, and whether this call has started it.

    It has a thread (in the edge: a greenlet) of its own, since nothing else ends the wait for a server that does not answer.
    """
    with _lock:
        thread = _held.renewal
        if thread is not None and (thread.is_alive() or time.monotonic() < _held.until):
            return thread, False
        thread = _held.renewal = threading.Thread(target=_renew, name="status-snapshot", daemon=True)
        thread.start()
        return thread, True


def forget() -> None:
    """What this process holds; the next caller looks again."""
    _held.snapshot, _held.until, _held.renewal = None, 0.0, None


def _renew() -> None:
    try:
        _try_to_renew()
    except Exception:
        log.exception("status.snapshot_crashed")
        _hold(_held.snapshot, RETRY_SECONDS)


def _try_to_renew() -> None:
    period = settings.status_cache_seconds
    shared = _read()
    last = shared or _held.snapshot
    if last is not None and _held.snapshot is None:
        _held.snapshot = last  # what is there is better than to wait
    age = (now() - last.generated_at).total_seconds() if last else 0.0
    if last is not None and 0 <= age < period:
        _hold(last, period - age)
        return
    if last is not None and period and not _may_build():
        _hold(last, min(RETRY_SECONDS, period))
        return
    try:
        snapshot = build(last)
    except POSTGRES_ERRORS as error:
        log.warning("status.snapshot_failed", extra={"reason": repr(error)[:200]})
        _hold(last, RETRY_SECONDS)
        return
    _hold(snapshot, period)
    _write(snapshot)


def _hold(snapshot: Snapshot | None, seconds: float) -> None:
    _held.snapshot, _held.until = snapshot, time.monotonic() + seconds


def build(last: Snapshot | None) -> Snapshot:
    """A snapshot from Postgres. `last`: the one before it, for `changed_at`."""
    database.connect(reuse_if_open=True, timeout=settings.database_health_timeout)
    try:
        with transaction():
            database.execute_later("set local statement_timeout = %(time)s", {"time": f"{BUILD_SECONDS}s"})
            return _built(last)
    finally:
        release()


def _built(last: Snapshot | None) -> Snapshot:
    time, catalogue = now(), services()
    both = published.since(time - timedelta(days=DAYS))
    incidents = tuple(each for each in both if not each.is_maintenance)
    maintenances = tuple(each for each in both if each.is_maintenance)
    days, checks = history.days(catalogue, DAYS), history.latest(catalogue)
    effects, ago = headline.effects(both, published.suspected()), published.last_of_services()
    counts = headline.by_day(incidents, time)
    shown = tuple(
        _service(
            each,
            status=headline.status(each, effects.get(key), checks.get(key), time),
            last_incident_at=ago.get(key),
            check=checks.get(key),
            days=tuple(
                Day(day.date, day.state, day.uptime, counts.get((key, day.date.toordinal()), 0)) for day in days[key]
            ),
            uptime=history.uptime_of(days[key]),
        )
        for key, each in catalogue.items()
    )
    status, state, description = headline.words(shown, incidents)
    overview = Overview(status, state, description, time)
    measured = tuple(figures.figures(catalogue, days, time))
    fresh = Snapshot(time, time, overview, shown, incidents, maintenances, measured)
    return _changed_at(fresh, last)


def _service(
    service: Service,
    *,
    status: str,
    last_incident_at: datetime | None,
    check: history.Check | None,
    days: tuple[Day, ...],
    uptime: float | None,
) -> ServiceView:
    return ServiceView(
        key=service.key,
        name=service.name,
        description=service.description,
        owner=service.owner,
        group=service.group,
        status=status,
        last_incident_at=last_incident_at,
        checked_at=check.at if check else None,
        uptime=uptime,
        days=days,
    )


def _changed_at(fresh: Snapshot, last: Snapshot | None) -> Snapshot:
    """With the time since when it is so. Without a last one, that of the newest change that is known."""
    if last is not None:
        time = last.changed_at if last.story() == fresh.story() else fresh.generated_at
    else:
        both = (*fresh.incidents, *fresh.maintenances)
        time = max((each.updated_at for each in both), default=fresh.generated_at)
    return replace(fresh, changed_at=time, overview=replace(fresh.overview, updated_at=time))


def _may_build() -> bool:
    """Whether no other process is building. Without Redis, each process builds its own."""
    try:
        return bool(fast_redis_client().set(BUILDER, "1", nx=True, px=1000 * BUILD_SECONDS))
    except redis.RedisError:
        return True


def _read() -> Snapshot | None:
    try:
        stored = fast_redis_client().get(KEY)
        return _adapter.validate_json(stored) if stored else None
    except redis.RedisError as error:
        log.warning("status.snapshot_not_shared", extra={"reason": repr(error)[:200]})
    except ValidationError:
        log.warning("status.snapshot_unreadable")
    return None


def _write(snapshot: Snapshot) -> None:
    try:
        client = fast_redis_client()
        client.set(KEY, _adapter.dump_json(snapshot), ex=KEPT_SECONDS)
        client.delete(BUILDER)
    except redis.RedisError as error:
        log.warning("status.snapshot_not_shared", extra={"reason": repr(error)[:200]})
