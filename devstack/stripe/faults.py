"""Faults on request: of calls of the API, and of the delivery of webhooks. README.md lists them."""

import fnmatch
from typing import Any

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
    """What is to go wrong with one call."""

    def __init__(self, kind: str = "", status: int = 500, seconds: float = 0) -> None:
        self.kind, self.status, self.seconds = kind, status, seconds

    def raise_status(self) -> None:
        if self.kind == "status":
            raise by_status(self.status)


def of_header(text: str | None) -> Fault | None:
    """`status=503`, `timeout=2`, `lost`, or `slow=0.5`. Malformed ones are a 400, so that a test cannot miss it."""
    if not text:
        return None
    kind, _, value = text.partition("=")
    try:
        number = float(value or 0)
    except ValueError:
        number = -1
    if kind not in KINDS or number < 0 or (kind == "status" and number < 400):
        raise malformed(f"Unknown fault: {text}")
    return Fault(kind, int(number), number)


def add(store: Store, rule: Object) -> None:
    """Add a rule: {"operation": "POST /v1/subscriptions*", "kind", "status", "seconds", "times"}."""
    rules = [*store.setting("faults", []), rule]
    store.set("faults", rules)


def check(rule: Any) -> Object:
    """The rule with its defaults. ValueError if it is none."""
    known = {"operation": "*", "kind": "status", "status": 500, "seconds": 30, "times": 1}
    if not isinstance(rule, dict) or set(rule) - set(known) or rule.get("kind", "status") not in KINDS:
        raise ValueError(f"A fault has {', '.join(known)}; the kinds are {', '.join(KINDS)}.")
    if not isinstance(rule.get("times", 1), int) or not 400 <= rule.get("status", 500) <= 599:
        raise ValueError("times is a whole number, and status one from 400 to 599.")
    return known | rule


def next_for(store: Store, method: str, path: str) -> Fault | None:
    """The first rule that fits this call; it is used up once more."""
    rules = store.setting("faults", [])
    for rule in rules:
        if fnmatch.fnmatchcase(f"{method} {path}", rule["operation"]):
            rule["times"] -= 1
            store.set("faults", [each for each in rules if each["times"] > 0])
            return Fault(rule["kind"], rule["status"], rule["seconds"])
    return None
