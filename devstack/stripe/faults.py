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
    """What is to go wrong with one call: one of KINDS, and its number."""

    def __init__(self, kind: str, number: float) -> None:
        self.kind, self.seconds, self.status = kind, number, int(number)

    def raise_status(self) -> None:
        if self.kind == "status":
            raise by_status(self.status)


def read(text: str) -> Fault:
    """`status=503`, `timeout=2`, `lost`, or `slow=0.5`. ValueError if it is none of them."""
    kind, _, value = text.partition("=")
    number = float(value or 0)
    if kind not in KINDS or number < 0 or (kind == "status" and not 400 <= number <= 599):
        raise ValueError(f"{text!r} is not a fault: say status=503, timeout=2, lost or slow=0.5.")
    return Fault(kind, number)


def of_header(text: str | None) -> Fault | None:
    """The fault that a request asks for itself. A malformed one is a 400, so that a test cannot miss it."""
    try:
        return read(text) if text else None
    except ValueError as error:
        raise malformed(str(error)) from None


def add(store: Store, rule: Object) -> None:
    """Add {"operation": "POST /v1/subscriptions*", "fault": "status=503", "times": 2}. ValueError if it is wrong."""
    known: Object = {"operation": "*", "fault": "status=503", "times": 1}
    if set(rule) - set(known) or not isinstance(rule.get("times", 1), int):
        raise ValueError("A fault has an operation, a fault and a whole number of times.")
    rule = known | rule
    read(rule["fault"])
    store.set("faults", [*store.setting("faults", []), rule])


def next_for(store: Store, method: str, path: str) -> Fault | None:
    """The first rule that fits this call; it is used up once more."""
    rules = store.setting("faults", [])
    for rule in rules:
        if fnmatch.fnmatchcase(f"{method} {path}", rule["operation"]):
            rule["times"] -= 1
            store.set("faults", [each for each in rules if each["times"] > 0])
            return read(rule["fault"])
    return None
