"""The probes of all services, each minute: one thread for each, so that one that hangs delays no other."""

import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from models.platform.database import release, transaction
from models.platform.redaction import without_secrets
from models.platform.settings import settings
from models.status import checks, uptime
from models.status.checks import Claim
from models.status.history import FAILED, GOOD, SLOW
from models.status.services import Service, services
from models.status.verdicts import judge
from workers import metrics
from workers.jobs import STATUS_FAN_OUT, STATUS_PROBE, STATUS_ROLL_UP, enqueue
from workers.runtime import Lease, actor
from workers.status.probes import probe
from workers.status.probes.finding import Failed, NotConfigured

SLACK_SECONDS = 10  # beyond the time of a probe, after which its worker is taken for dead
log = logging.getLogger(__name__)
_busy: dict[str, threading.Thread] = {}  # by service: a thread cannot be ended, only waited for


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result`: `good`, `slow` or `failed`; None if there is nothing to probe. `seconds`: that it took."""

    service: Service
    result: str | None
    seconds: float
    reason: str | None = None


@actor(STATUS_PROBE)
def probe_services(lease: Lease) -> None:
    """Probe the services that nobody has probed in this minute, and open or resolve incidents. A late repetition does nothing."""
    probed = {key: service for key, service in services().items() if service.probe}
    seconds = settings.status_probe_timeout_seconds
    claims = {claim.service: claim for claim in checks.claim(probed, seconds + SLACK_SECONDS)}
    release()
    problems: list[Exception] = []
    for outcome in ask([probed[key] for key in claims], seconds):
        try:
            settle(claims[outcome.service.key], outcome)
        except Exception as error:  # the other services have nothing to do with it
            log.exception("status.probe_unsettled", extra={"service": outcome.service.key})
            problems.append(error)
        release()
        lease.checkpoint()
    uptime.roll_up()
    if problems:
        raise problems[0]


@actor(STATUS_ROLL_UP)
def roll_up_history(lease: Lease) -> None:
    """Sum up again what may have changed: results that came late, and incidents that were told later. Remove what is old."""
    uptime.roll_up_all()
    lease.checkpoint()
    uptime.purge()


def ask(asked: list[Service], seconds: float) -> Iterator[Outcome]:
    """Probe these services at once. The outcomes come as they are there; what has none in time has failed."""
    answers: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    open_ones = {service.key: service for service in asked}
    begun = time.monotonic()
    for service in asked:
        if (before := _busy.get(service.key)) and before.is_alive():
            yield Outcome(open_ones.pop(service.key), FAILED, 0.0, "The probe before has not come back yet.")
            continue
        thread = threading.Thread(
            target=_ask, args=(service, seconds, answers), name=f"probe-{service.key}", daemon=True
        )
        _busy[service.key] = thread
        thread.start()
    while open_ones:
        try:
            outcome = answers.get(timeout=max(0.0, begun + seconds + 0.5 - time.monotonic()))
        except queue.Empty:
            break
        del open_ones[outcome.service.key]
        yield outcome
    for service in open_ones.values():
        yield Outcome(service, FAILED, seconds, f"There was no result within {seconds:g} s.")


def settle(claim: Claim, outcome: Outcome) -> None:
    """Write down the outcome, and then what follows from it; nothing if somebody else has the claim now."""
    service, result = outcome.service, outcome.result
    if result is None:
        checks.drop(claim)
        return
    if not checks.record(claim, result, outcome.seconds, outcome.reason):
        return
    metrics.service_probed(service.key, result, outcome.seconds)
    if result == FAILED:
        log.warning("status.probe_failed", extra={"service": service.key, "reason": outcome.reason})
    with transaction():  # if it fails, or is never reached, the results of the next minute lead to the same
        update = judge(service)
        if update is not None and update.notify:
            enqueue(STATUS_FAN_OUT, update_id=str(update.id))
    if update is not None:
        log.warning("status.incident_by_probe", extra={"service": service.key, "state": update.state})


def _ask(service: Service, seconds: float, answers: "queue.SimpleQueue[Outcome]") -> None:
    begun, result, reason = time.monotonic(), None, None
    try:
        found = probe(service, seconds)
        result, reason = (SLOW if found.is_slow else GOOD), found.reason
    except NotConfigured:
        pass
    except Failed as failed:
        result, reason = FAILED, str(failed)
    except Exception as error:  # noqa: BLE001  (whatever a library raises, the service does not work)
        result, reason = FAILED, f"{type(error).__name__}: {error}"
    finally:
        release()
    answers.put(Outcome(service, result, time.monotonic() - begun, without_secrets(reason) if reason else None))
