"""Texts that strangers write, made harmless for logs, mails and terminals."""

import re

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
CONTROLS_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")


def one_line(text: str | None) -> str | None:
    """The text without control characters and line breaks, and with single blanks; None if nothing is left."""
    return " ".join(CONTROLS.sub(" ", text or "").split()) or None


def lines(text: str) -> str:
    """The text with its line breaks and tabs, but nothing else that a terminal obeys."""
    return CONTROLS_IN_LINES.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
