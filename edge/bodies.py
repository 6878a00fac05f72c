"""Reads the body of a request, and parses its JSON or its form. Both cost little, whatever the sender wants."""

import json
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qsl

import gevent

from edge import metrics
from edge.errors import BodyTooSlow, Invalid, TooLarge
from edge.request import Request
from models.platform.database import release
from models.platform.settings import settings

MAX_DEPTH = 32  # arrays and objects inside each other
MAX_DIGITS = 100  # of an integer; converting one takes time that grows with the square of this
NOT_BRACKETS = re.compile(r"[^\[\]{}]+")


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """`elements`: the values of all arrays and objects together."""

    size: int
    seconds: float
    elements: int

    @classmethod
    def of(cls, req: Request) -> "BodyLimits":
        """A caller whom no guard has admitted may send less, and in less time."""
        if hasattr(req.context, "principal"):
            return cls(settings.request_body_limit_bytes, settings.body_timeout_seconds, 10_000)
        return cls(settings.anonymous_body_limit_bytes, settings.anonymous_body_timeout_seconds, 1_000)


def read_body(req: Request, limits: BodyLimits) -> bytes:
    """The body. TooLarge (413), BodyTooSlow (408), or Invalid (422) if it ends early.

    No database connection is held meanwhile: a client that sends slowly must not keep one from others.
    """
    release()
    if (req.content_length or 0) > limits.size:
        raise TooLarge(f"The request body may have {limits.size} bytes at most.")
    raw = _read(req, limits)
    if len(raw) > limits.size:
        raise TooLarge(f"The request body may have {limits.size} bytes at most.")
    if len(raw) < (req.content_length or 0):  # the client broke off; the part that came may be valid JSON by chance
        raise Invalid.at("body", msg="The body is shorter than its Content-Length.", code="json_invalid")
    return raw


def _read(req: Request, limits: BodyLimits) -> bytes:
    stream = req.stream if req.content_length is None else req.bounded_stream
    try:
        with gevent.Timeout(limits.seconds, BodyTooSlow()):
            return bytes(stream.read(limits.size + 1))
    except (BodyTooSlow, TimeoutError):
        metrics.REFUSED.labels("slow_body").inc()
        raise BodyTooSlow() from None


def parse_json(raw: bytes, limits: BodyLimits) -> Any:
    """The parsed body, in any Unicode encoding. ValueError if it is not JSON, Invalid (422) if it is too complex."""
    text = raw.decode(json.detect_encoding(raw), "surrogatepass")
    _require_simple(text, limits.elements)
    return json.loads(text, parse_constant=_reject_constant, parse_int=_parse_int)


def parse_form(raw: bytes, limits: BodyLimits) -> dict[str, list[str]]:
    """The values of each field of a form that a browser has sent as application/x-www-form-urlencoded.

    ValueError if it is not UTF-8, or has too many fields.
    """
    form: dict[str, list[str]] = {}
    for name, value in parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=limits.elements):
        form.setdefault(name, []).append(value)
    return form


def _require_simple(text: str, max_elements: int) -> None:
    """Look at the text alone, in a few passes in C, so that nothing large is ever built.

    If the text is not JSON, the parser fails before the place from which this would count wrongly.
    """
    text = text.replace("\\\\", "").replace('\\"', "")  # now every quote begins or ends a string
    if text.count('"') > 4 * max_elements:  # two strings per element: a key and a value
        raise _too_many_elements(max_elements)
    outside = "".join(text.split('"')[::2])
    if sum(map(outside.count, ",[{")) > max_elements:
        raise _too_many_elements(max_elements)
    brackets = NOT_BRACKETS.sub("", outside)
    if max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0) > MAX_DEPTH:
        raise _refused("The body is nested too deeply.", "recursion")


def _too_many_elements(limit: int) -> Invalid:
    return _refused(f"The body may have {limit} elements at most.", "too_many_elements")


def _refused(msg: str, code: str) -> Invalid:
    metrics.REFUSED.labels("json").inc()
    return Invalid.at("body", msg=msg, code=code)


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _parse_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of more than {MAX_DIGITS} digits")
    return int(digits)
