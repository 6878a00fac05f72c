"""Ends what was admitted and is still open when its caller may not read it any more.

A stream is checked when it opens, and goes on for minutes. One greenlet per process asks Postgres about a hundred open
streams at a time. It does not ask the cache, whose delay would come on top of its own.
"""

import logging
import time
from collections.abc import Callable, Iterable
from uuid import UUID
from weakref import WeakSet

import gevent

from edge import topics
from edge.hub import Hub
from edge.topics import Topic
from models.auth import authority
from models.auth.authority import Authority
from models.platform.authorization import BILLING_READ, CONVERSATION_ASK, RUN_READ, Action, Row, may
from models.platform.database import release
from models.platform.principal import Principal
from models.runs.run import Run

log = logging.getLogger(__name__)
CHECK_SECONDS = 4  # a change counts within 5 seconds
BATCH = 100  # callers in one statement; between two of them, other greenlets run
ADMITTING = (RUN_READ, CONVERSATION_ASK)  # the actions that open a stream of a run


class Permit:
    """A caller's permission to read a topic, until it is withdrawn. Who holds it asks `valid` at each batch.

    `actions`: any of them allows it, to this `row` if there is one. `expires_at`: when it ends in any case (Unix time).
    """

    def __init__(
        self,
        principal: Principal,
        topic: Topic,
        hub: Hub,
        actions: tuple[Action, ...],
        row: Row | None = None,
        expires_at: float = float("inf"),
    ) -> None:
        self.principal, self.topic, self.hub = principal, topic, hub
        self.actions, self.row, self.expires_at = actions, row, expires_at
        self.valid = True

    def withdraw(self) -> None:
        self.valid = False
        self.hub.wake(self.topic)

    def holds(self, now: Authority | None) -> bool:
        """Whether the caller may still read, with what they may do now; None: nothing."""
        if now is None or time.time() >= self.expires_at:
            return False
        principal = now.limit(self.principal)
        return principal == self.principal or any(may(principal, action, self.row) for action in self.actions)


class Watch:
    """The permits of a process. One that nobody holds any more is forgotten. The greenlet runs while there are some."""

    def __init__(self, look_up: Callable[[Iterable[UUID]], dict[UUID, Authority]] = authority.look_up) -> None:
        self.look_up = look_up
        self.permits: WeakSet[Permit] = WeakSet()
        self.greenlet: gevent.Greenlet | None = None

    def permit(self, principal: Principal, run: Run, hub: Hub) -> Permit:
        """To read a run."""
        return self._add(Permit(principal, topics.of_run(run.id), hub, ADMITTING, run))

    def billing_permit(self, principal: Principal, topic: Topic, hub: Hub, expires_at: float) -> Permit:
        """To read the billing of the principal's tenant, at most until their token expires."""
        return self._add(Permit(principal, topic, hub, (BILLING_READ,), expires_at=expires_at))

    def _add(self, permit: Permit) -> Permit:
        self.permits.add(permit)
        if not self.greenlet:  # a greenlet that has ended is false
            self.greenlet = gevent.spawn(self._check_repeatedly)
        return permit

    def check(self) -> None:
        """Withdraw the permits of callers who may not read any more."""
        permits = list(self.permits)
        for start in range(0, len(permits), BATCH):
            self._check(permits[start : start + BATCH])

    def _check(self, permits: list[Permit]) -> None:
        now = self.look_up({permit.principal.session_id for permit in permits if permit.principal.session_id})
        for permit in permits:
            session_id = permit.principal.session_id
            if not permit.holds(now.get(session_id) if session_id else None):
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


watch = Watch()
