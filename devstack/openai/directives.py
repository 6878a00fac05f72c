"""Directives in the user's last message, such as [[deltas=20 delay=20ms]]. README.md lists them.

Double brackets are a group of directives only if every word in them is one, so [[1, 2], [3, 4]] stays a matrix.
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


QUIRKS = {
    "empty_choices",
    "interleaved",
    "keep_alive",
    "no_call_ids",
    "no_done",
    "no_finish",
    "no_id",
    "no_index",
    "no_stream",
    "no_usage",
    "reasoning_field",
    "same_call_ids",
    "stop_for_calls",
    "thinking_parts",
    "usage_each",
    "whole_calls",
    "zero_index",
}


def _quirks(text: str) -> frozenset[str]:
    names = frozenset(text.split(","))
    if not names <= QUIRKS:
        raise ValueError(text)
    return names


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
    "quirks": _quirks,
    "image_padding": int,
}
_FAILING_FLAGS = {
    "hang",
    "refusal",
    "context_overflow",
    "incomplete",
    "content_filter",
    "failed",
    "error_event",
}
_FLAGS = _FAILING_FLAGS | {"image", "web_search", "reasoning", "echo_history", "echo_request"}
_CALLS = {"tool", "loop_tool"}
_TEXTS = {"text", "python"}  # up to the end of the group
_FAILURES = _FAILING_FLAGS | {"status", "cut", "slow"}
# These decide what to answer, so the plain words of the message trigger nothing.
_DECIDES_ANSWER = _CALLS | {
    "deltas",
    "cut",
    "handoff",
    "text",
    "python",
    "refusal",
    "incomplete",
    "content_filter",
    "failed",
    "error_event",
    "image",
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
    """What was read from one message.

    values   {directive: its value, or True for a flag}
    calls    (function, arguments as JSON text or None) of each `tool=`
    plain    the message without its directives
    """

    values: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, str | None]] = field(default_factory=list)
    plain: str = ""

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str, default: Any = None) -> Any:
        return self.values.get(name, default)

    @property
    def decide_answer(self) -> bool:
        """Whether the directives decide what to answer, so that the plain words are ignored."""
        return bool(self.calls) or not _DECIDES_ANSWER.isdisjoint(self.values)


def read(message: str) -> Directives:
    """Read the directives of a message. Counts requests: see `times` and `fail_times` in README.md."""
    directives = Directives(plain=message)
    if "[[" not in message:
        return directives
    plain, at = [], 0
    while (start := message.find("[[", at)) >= 0:
        plain.append(message[at:start])
        if end := _read_group(message, start + 2, directives):
            at = end
        else:
            plain.append("[[")
            at = start + 2
    directives.plain = "".join((*plain, message[at:])).strip()
    _limit_failures(directives, message)
    return directives


def _read_group(message: str, at: int, directives: Directives) -> int | None:
    """Add one group to `directives`; return the position after it, or None if it is not a group of directives."""
    group = Directives()
    while not (closing := _END.match(message, at)):
        try:
            at = _read_directive(message, at, group)
        except (KeyError, ValueError):
            return None
    if not (group.values or group.calls):
        return None
    directives.values |= group.values
    directives.calls += group.calls
    return closing.end()


def _read_directive(message: str, at: int, group: Directives) -> int:
    """Add one directive to `group`; return the position after it. ValueError or KeyError if it is malformed."""
    match = _expect(_NAME, message, at)
    (name, equals), at = match.groups(), match.end()
    if name in _FLAGS and not equals:
        group.values[name] = True
        return at
    if not equals:
        raise ValueError(name)
    if name in _TEXTS:
        match = _expect(_TEXT, message, at)
        group.values[name] = match[1]
        return match.end(1)
    if name in _CALLS:
        return _read_call(message, at, name, group)
    match = _expect(_VALUE, message, at)
    group.values[name] = _VALUES[name](match[0])
    return match.end()


def _expect(pattern: re.Pattern[str], message: str, at: int) -> re.Match[str]:
    if match := pattern.match(message, at):
        return match
    raise ValueError(f"{pattern.pattern} does not match at {at}")


def _read_call(message: str, at: int, name: str, group: Directives) -> int:
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


_MAX_KEYS = 10_000
_requests: OrderedDict[str, int] = OrderedDict()  # key -> requests with it, the least recent key first


def _limit_failures(directives: Directives, message: str) -> None:
    """Drop the failure directives from all but the first `times` requests with the same key."""
    times = directives.get("fail_times", directives.get("times"))
    if times is None:
        return
    if "fail_times" in directives:
        directives.values.setdefault("status", 500)
    key = directives.get("key", message)
    _requests[key] = _requests.pop(key, 0) + 1
    while len(_requests) > _MAX_KEYS:
        _requests.popitem(last=False)
    if _requests[key] > times:
        for name in _FAILURES:
            directives.values.pop(name, None)
