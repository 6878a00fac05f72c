"""Keeps the secrets of the settings out of logs and of stored errors: a driver's message may quote one."""

import json
from collections.abc import Iterable

from models.platform.settings import settings

REDACTED = "[redacted]"
SHORTEST = 6  # characters; shorter values would blank out ordinary words
_added: set[str] = set()


def keep_secret(values: Iterable[str]) -> None:
    """Further secrets, which are not in the settings. Logs know those that are added before they are configured."""
    _added.update(values)


def known_secrets() -> list[str]:
    """The secrets as a text may hold them: as they are, and escaped as in JSON. An address precedes the password in it."""
    values = {value for value in settings.secret_values() | _added if len(value) >= SHORTEST}
    return sorted(values | {json.dumps(value)[1:-1] for value in values}, key=len, reverse=True)


def without_secrets(text: str, secrets: list[str] | None = None) -> str:
    """The text, with every secret blanked out. Pass `secrets` where this is done often."""
    for secret in known_secrets() if secrets is None else secrets:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return text
