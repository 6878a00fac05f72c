"""Directives in the user's last message, such as [[deltas=20 delay=20ms]]. README.md says what each one does.

A group in double brackets is read only if all of its words are known, so that [[1, 2], [3, 4]] stays a matrix.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)?", text)
    if match is None:
        raise ValueError(text)
    return float(match[1]) * {"ms": 0.001, "m": 60.0}.get(match[2], 1.0)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > 100_000:
        raise ValueError(text)
    return int(text)


def _status(text: str) -> int:
    if not 400 <= int(text) <= 599:
        raise ValueError(text)
    return int(text)


_VALUES: dict[str, Callable[[str], Any]] = {
    "deltas": _count,
    "delay": _seconds,
    "slow": _seconds,
    "cut": _count,
    "status": _status,
    "fail_times": _count,
    "times": _count,
    "retry_after": str,
    "key": str,
    "code": str,
    "handoff": str,
}
_FLAGS = {
    "hang",
    "refusal",
    "context_overflow",
    "incomplete",
    "failed",
    "error_event",
    "web_search",
    "reasoning",
    "echo_history",
    "echo_request",
}
_CALLS = {"tool", "loop_tool"}
_TROUBLE = {"status", "cut", "slow", "hang", "refusal", "context_overflow", "incomplete", "failed", "error_event"}
# NOTE: who asks for one of these has said what shall come, so the plain words beside it start nothing of their own.
_DECIDING = _CALLS | {
    "deltas",
    "cut",
    "handoff",
    "text",
    "refusal",
    "incomplete",
    "failed",
    "error_event",
    "web_search",
    "echo_history",
    "echo_request",
}

_END = re.compile(r"\s*\]\]")
_NAME = re.compile(r"\s*([a-z_]+)(=?)")
_VALUE = re.compile(r"[^\s\]]+")
_TOOL = re.compile(r"([\w.-]+)\s*")
_TEXT = re.compile(r"(.*?)\]\](?![\]}])", re.DOTALL)
_JSON = json.JSONDecoder()


@dataclass
class Directives:
    """What the message asks for beside its plain words."""

    values: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, str | None]] = field(default_factory=list)  # (function, arguments as JSON text)
    plain: str = ""

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str, default=None):
        return self.values.get(name, default)

    @property
    def decide(self) -> bool:
        return bool(self.calls) or not _DECIDING.isdisjoint(self.values)


def read(message: str) -> Directives:
    found = Directives(plain=message)
    if "[[" not in message:
        return found
    plain, at = [], 0
    while (start := message.find("[[", at)) >= 0:
        plain.append(message[at:start])
        if end := _group(message, start + 2, found):
            at = end
        else:
            plain.append("[[")
            at = start + 2
    found.plain = "".join((*plain, message[at:])).strip()
    _spare_after_times(found, message)
    return found


def _group(message: str, at: int, found: Directives) -> int | None:
    """Read one group into `found`; the position after it, or None if it is no group of directives."""
    group = Directives()
    while not (closing := _END.match(message, at)):
        try:
            at = _word(message, at, group)
        except (KeyError, ValueError):
            return None
    if not (group.values or group.calls):
        return None
    found.values |= group.values
    found.calls += group.calls
    return closing.end()


def _word(message: str, at: int, group: Directives) -> int:
    """Read one directive; what does not fit its form raises."""
    match = _expect(_NAME, message, at)
    (name, equals), at = match.groups(), match.end()
    if name in _FLAGS and not equals:
        group.values[name] = True
        return at
    if not equals:
        raise ValueError(name)
    if name == "text":
        match = _expect(_TEXT, message, at)
        group.values[name] = match[1]
        return match.end(1)
    if name in _CALLS:
        return _call(message, at, name, group)
    match = _expect(_VALUE, message, at)
    group.values[name] = _VALUES[name](match[0])
    return match.end()


def _expect(pattern: re.Pattern[str], message: str, at: int) -> re.Match[str]:
    if match := pattern.match(message, at):
        return match
    raise ValueError(f"no {pattern.pattern} at {at}")


def _call(message: str, at: int, name: str, group: Directives) -> int:
    match = _expect(_TOOL, message, at)
    arguments, at = None, match.end()
    if message.startswith("{", at):
        value, at = _JSON.raw_decode(message, at)
        arguments = json.dumps(value)
    if name == "tool":
        group.calls.append((match[1], arguments))
    else:
        group.values[name] = (match[1], arguments)
    return at


_seen: OrderedDict[str, int] = OrderedDict()  # key -> requests that had it


def _spare_after_times(found: Directives, message: str) -> None:
    """Take the trouble away from all but the first `times` requests with one key."""
    times = found.get("fail_times", found.get("times"))
    if times is None:
        return
    if "fail_times" in found:
        found.values.setdefault("status", 500)
    key = found.get("key", message)
    _seen[key] = _seen.pop(key, 0) + 1
    while len(_seen) > 10_000:
        _seen.popitem(last=False)
    if _seen[key] > times:
        for name in _TROUBLE:
            found.values.pop(name, None)
