"""A text that matches a regular expression, for the `pattern` of a JSON schema."""

import re
from collections.abc import Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from devstack.openai.errors import invalid

_CATEGORIES = {
    op.CATEGORY_DIGIT: "1",
    op.CATEGORY_WORD: "a",
    op.CATEGORY_SPACE: " ",
    op.CATEGORY_NOT_DIGIT: "a",
    op.CATEGORY_NOT_WORD: "-",
    op.CATEGORY_NOT_SPACE: "a",
}


def matching_text(pattern: str) -> str:
    """A short text that matches, always the same one. ApiError 400 if the pattern uses features beyond the usual ones."""
    text = "".join(_pieces(parser.parse(pattern)))
    if not re.search(pattern, text):
        raise invalid(f"Invalid schema: pattern '{pattern}' is not supported.", "text.format.schema")
    return text


def _pieces(tokens: Any) -> Iterator[str]:
    """Pieces of a text that matches the parsed regular expression."""
    for code, value in tokens:
        if code is op.LITERAL:
            yield chr(value)
        elif code is op.NOT_LITERAL:
            yield "a" if value != ord("a") else "b"
        elif code is op.ANY:
            yield "a"
        elif code is op.IN:
            yield _member(value)
        elif code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            low, high, inner = value
            yield from "".join(_pieces(inner)) * min(max(low, 1), high)
        elif code is op.SUBPATTERN:
            yield from _pieces(value[3])
        elif code is op.BRANCH:
            yield from _pieces(value[1][0])


def _member(options: Any) -> str:
    """A character of a set such as [a-z]."""
    code, value = options[0]
    if code is op.NEGATE:
        excluded = {chr(value) for code, value in options[1:] if code is op.LITERAL}
        return next(char for char in "aA1-_ " if char not in excluded)
    if code is op.RANGE:
        return chr(value[0])
    return _CATEGORIES[value] if code is op.CATEGORY else chr(value)
