"""Keeps the secrets of the settings out of logs and of stored errors: a driver's message may quote one."""

import json
import re
from collections.abc import Iterable

from models.platform.settings import settings

REDACTED = "[redacted]"
SHORTEST = 6  # characters; shorter values would blank out ordinary words
# What grants something wherever it is read: tokens of ours and of services, credentials in URLs, and named values.
TOKENS = re.compile(
    r"""\beyJ[\w-]{8,}(?:\.[\w-]+)+          # JWT
    | \b[0-9a-f]{32}\.[0-9a-f]{64}\b      # a token that was mailed
    | \b(?:sk|pk|rk|whsec|xox[a-z]|re)[-_][\w-]{8,}
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)      # user:password in a URL
    | (?<=bearer\s)\S+ | (?<=basic\s)\S+
    """,
    re.IGNORECASE | re.VERBOSE,
)
NAMED = re.compile(
    r"""(\b[\w-]{0,40}(?:password|passwd|token|secret|api[_-]?key|credential|signature)[\w-]{0,40}["']?\s*[=:]\s*["']?)[^\s&"',;}]+""",
    re.IGNORECASE,
)
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


def without_tokens(text: str) -> str:
    """The text of a stranger, with whatever looks like a token or a named secret blanked out: `?token=...`, `Bearer ...`."""
    return TOKENS.sub(REDACTED, NAMED.sub(rf"\1{REDACTED}", text))
