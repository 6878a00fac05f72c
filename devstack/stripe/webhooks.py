"""Sends events to the endpoints: signed, in parallel, tried again until they are accepted, with faults on request."""

import hashlib
import hmac
import random
import time
from collections.abc import Iterator

import gevent
import orjson
import urllib3
from gevent.event import Event as Signal
from gevent.pool import Pool

from devstack.stripe import faults
from devstack.stripe.shapes import Object
from devstack.stripe.store import Store

_AT_ONCE = 32
_TIMEOUT = 10.0  # seconds for an answer
_ATTEMPTS = 20
_LONGEST_PAUSE = 30.0  # seconds between two attempts
_KEPT = 5000  # deliveries that are over and can still be looked at


def signature(body: bytes, secrets: list[str], now: int) -> str:
    """The header Stripe-Signature. During a rotation of secrets there is one signature for each."""
    signed = f"{now}.".encode() + body
    marks = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={now}", *(f"v1={mark}" for mark in marks)])


def pause(attempts: int) -> float:
    """Seconds until the next attempt, after this many."""
    return float(min(0.25 * 2**attempts, _LONGEST_PAUSE))


class Sender:
    """Call `wake` when there is something to send."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.pool = Pool(_AT_ONCE)
        self.http = urllib3.PoolManager(maxsize=_AT_ONCE, retries=False)
        self.signal = Signal()
        self.sending: set[int] = set()
        self.random = random.Random()  # noqa: S311  (it chooses which deliveries fail)

    def wake(self) -> None:
        self.signal.set()

    def run(self) -> None:
        """For ever."""
        while True:
            self.signal.clear()
            settings = faults.WEBHOOKS | self.store.setting("webhooks", {})
            for seq, event, endpoint, attempts in self._due(settings):
                self.sending.add(seq)
                if settings["ordered"]:
                    self._send(seq, event, endpoint, attempts, settings)
                else:
                    self.pool.spawn(self._send, seq, event, endpoint, attempts, settings)
            self.signal.wait(self._idle())

    def _idle(self) -> float:
        rows = self.store.rows("select min(due) from delivery where state = 'waiting'")
        return 1.0 if rows[0][0] is None else min(max(rows[0][0] - time.time(), 0.02), 1.0)

    def _due(self, settings: Object) -> Iterator[tuple[int, str, str, int]]:
        rows = self.store.rows(
            "select seq, event, endpoint, attempts from delivery where state = 'waiting' and due <= ?"
            " order by seq limit 1000",
            (time.time(),),
        )
        rows = [row for row in rows if row[0] not in self.sending]
        if settings["shuffle"]:
            self.random.shuffle(rows)
        yield from rows

    def _send(self, seq: int, event_id: str, endpoint_id: str, attempts: int, settings: Object) -> None:
        try:
            if not attempts and settings["delay"]:
                gevent.sleep(self.random.uniform(0, settings["delay"]))
            event, endpoint = self.store.get(event_id), self.store.get(endpoint_id)
            if event is None or endpoint is None or endpoint.get("deleted"):
                self._finish(seq, attempts, "gone", "the endpoint is gone")
                return
            if not attempts and self.random.random() < settings["fail_first"]:
                answer = "dropped on request"
            else:
                body = orjson.dumps(event)
                answer = self._post(endpoint, body)
                if not attempts and self.random.random() < settings["twice"]:
                    self._post(endpoint, body)
            self._record(seq, event, attempts + 1, answer)
        finally:
            self.sending.discard(seq)
            self.signal.set()

    def _post(self, endpoint: Object, body: bytes) -> str:
        """The status of the answer, or what went wrong."""
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(body, endpoint["_secrets"], int(time.time())),
        }
        try:
            answer = self.http.request(
                "POST", endpoint["url"], body=body, headers=headers, timeout=_TIMEOUT, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            return f"{type(error).__name__}: {error}"[:200]
        return str(answer.status)

    def _record(self, seq: int, event: Object, attempts: int, answer: str) -> None:
        if answer.startswith("2") and len(answer) == 3:
            self._finish(seq, attempts, "delivered", answer)
            fresh = self.store.get(event["id"]) or event
            fresh["pending_webhooks"] = max(fresh["pending_webhooks"] - 1, 0)
            self.store.put(fresh, None, fresh["type"], None)
        elif attempts >= _ATTEMPTS:
            self._finish(seq, attempts, "failed", answer)
        else:
            self.store.db.execute(
                "update delivery set attempts = ?, due = ?, answer = ? where seq = ?",
                (attempts, time.time() + pause(attempts), answer, seq),
            )

    def _finish(self, seq: int, attempts: int, state: str, answer: str) -> None:
        self.store.db.execute(
            "update delivery set attempts = ?, state = ?, answer = ? where seq = ?", (attempts, state, answer, seq)
        )
        self.store.db.execute("delete from delivery where state <> 'waiting' and seq <= ?", (seq - _KEPT,))
