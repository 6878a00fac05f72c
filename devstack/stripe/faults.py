"""Faults on request: of calls of the API, and of the delivery of webhooks. README.md lists them."""

import fnmatch

from devstack.stripe.errors import by_status, malformed
from devstack.stripe.shapes import Object
from devstack.stripe.store import Store

HEADER = "Standin-Fault"
# status   answer with this error, without executing
# timeout  no answer, without executing: the connection is closed after `seconds`
# lost     execute, then close the connection without an answer
# slow     execute after `seconds`
KINDS = ("status", "timeout", "lost", "slow")
WEBHOOKS: Object = {"twice": 0.0, "shuffle": False, "delay": 0.0, "fail_first": 0.0, "ordered": False}


class Fault:
    """What is to go wrong with one call: one of KINDS, its status, or how many seconds pass."""

    def __init__(self, kind: str, status: int, seconds: float) -> None:
        self.kind, self.status, self.seconds = kind, status, seconds

    def raise_status(self) -> None:
        if self.kind == "status":
            raise by_status(self.status)


def read(text: str) -> Object:
    """{"kind", "status", "seconds"} of `status=503`, `timeout=2`, `lost`, or `slow=0.5`. ValueError for others."""
    kind, _, value = text.partition("=")
    number = float(value or 0)
    wrong = kind not in KINDS or number < 0 or (kind == "status" and not 400 <= number <= 599)
    if wrong:
        raise ValueError(f"{text!r} is not a fault: say status=503, timeout=2, lost or slow=0.5.")
    return {"kind": kind, "status": int(number), "seconds": number}


def of_header(text: str | None) -> Fault | None:
    """The fault that a request asks for itself. A malformed one is a 400, so that a test cannot miss it."""
    try:
        return Fault(**read(text)) if text else None
    except ValueError as error:
        raise malformed(str(error)) from None


def add(store: Store, rule: Object) -> None:
    """Add {"operation": "POST /v1/subscriptions*", "kind", "status", "seconds", "times": 2}. ValueError if it is wrong."""
    known: Object = {"operation": "*", "kind": "status", "status": 500, "seconds": 30, "times": 1}
    if unknown := set(rule) - set(known):
        raise ValueError(f"A fault has no {', '.join(unknown)}; it has {', '.join(known)}.")
    rule = known | rule
    if not isinstance(rule["times"], int) or rule["times"] < 1:
        raise ValueError("times is a whole number from 1.")
    read(f"{rule['kind']}={rule['status' if rule['kind'] == 'status' else 'seconds']}")
    store.set("faults", [*store.setting("faults", []), rule])


def next_for(store: Store, method: str, path: str) -> Fault | None:
    """The first rule that fits this call; it is used up once more."""
    rules = store.setting("faults", [])
    for rule in rules:
        if fnmatch.fnmatchcase(f"{method} {path}", rule["operation"]):
            rule["times"] -= 1
            store.set("faults", [each for each in rules if each["times"] > 0])
            return Fault(rule["kind"], rule["status"], rule["seconds"])
    return None
