"""Ends what was admitted and is still open when its caller may not read the run any more.

A stream is checked when it opens, and goes on for minutes. One greenlet per process asks Postgres about a hundred open
streams at a time. It does not ask the cache, whose delay would come on top of its own.
"""

import logging
from collections.abc import Callable, Iterable
from uuid import UUID
from weakref import WeakSet

import gevent

from edge.hub import Hub
from models.auth import authority
from models.auth.authority import Authority
from models.platform.authorization import CONVERSATION_ASK, RUN_READ, may
from models.platform.database import release
from models.platform.principal import Principal
from models.runs.run import Run

log = logging.getLogger(__name__)
CHECK_SECONDS = 4  # a change counts within 5 seconds
BATCH = 100  # callers in one statement; between two of them, other greenlets run
ADMITTING = (RUN_READ, CONVERSATION_ASK)  # the actions that open a stream


class Permit:
    """A caller's permission to read a run's events, until it is withdrawn. Who holds it asks `valid` at each batch."""

    def __init__(self, principal: Principal, run: Run, hub: Hub) -> None:
        self.principal, self.run, self.hub = principal, run, hub
        self.valid = True

    def withdraw(self) -> None:
        self.valid = False
        self.hub.wake(self.run.id)


class Watch:
    """The permits of a process. One that nobody holds any more is forgotten. The greenlet runs while there are some."""

    def __init__(self, look_up: Callable[[Iterable[UUID]], dict[UUID, Authority]] = authority.look_up) -> None:
        self.look_up = look_up
        self.permits: WeakSet[Permit] = WeakSet()
        self.greenlet: gevent.Greenlet | None = None

    def permit(self, principal: Principal, run: Run, hub: Hub) -> Permit:
        permit = Permit(principal, run, hub)
        self.permits.add(permit)
        if not self.greenlet:  # a greenlet that has ended is false
            self.greenlet = gevent.spawn(self._check_repeatedly)
        return permit

    def check(self) -> None:
        """Withdraw the permits of callers who may not read their runs any more."""
        permits = list(self.permits)
        for start in range(0, len(permits), BATCH):
            self._check(permits[start : start + BATCH])

    def _check(self, permits: list[Permit]) -> None:
        now = self.look_up({permit.principal.session_id for permit in permits if permit.principal.session_id})
        for permit in permits:
            if not _may_read(permit, now):
                permit.withdraw()

    def _check_repeatedly(self) -> None:
        while self.permits:
            gevent.sleep(CHECK_SECONDS)
            try:
                self.check()
            except Exception as error:  # noqa: BLE001  (Postgres is away; the next round tries again)
                log.warning("relay.database_away", extra={"reason": repr(error)})
            finally:
                release()


def _may_read(permit: Permit, now: dict[UUID, Authority]) -> bool:
    began = permit.principal
    current = now.get(began.session_id) if began.session_id else None
    if current is None:
        return False
    principal = current.limit(began)
    return principal == began or any(may(principal, action, permit.run) for action in ADMITTING)


watch = Watch()
