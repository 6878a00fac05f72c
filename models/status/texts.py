"""Texts of incidents. They end up in feeds, so they hold no characters that XML forbids."""

import re

from models.platform.errors import BadRequest

TITLE, IMPACT, UPDATE = 200, 2000, 5000  # longest, in characters
FORBIDDEN = re.compile("[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SPACES = re.compile(r"\s+")


class TextInvalid(BadRequest):
    code = "incident_invalid"


def text(value: str, longest: int, name: str) -> str:
    """The text, trimmed, without control characters. TextInvalid if nothing is left, or too much."""
    value = FORBIDDEN.sub("", value.replace("\r\n", "\n")).strip()
    if not value:
        raise TextInvalid(f"The {name} is empty.")
    if len(value) > longest:
        raise TextInvalid(f"The {name} has more than {longest} characters.")
    return value


def line(value: str, longest: int, name: str) -> str:
    """The same on one line."""
    return text(SPACES.sub(" ", value), longest, name)
