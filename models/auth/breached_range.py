"""Asking a service whether a password is known from breaches, without telling it which: it learns five of forty digits.

It is the range interface of Pwned Passwords, which others offer too. Answers are padded, so that their length tells
an eavesdropper nothing.
"""

import logging
import time
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import Counter

from models.platform.errors import Unavailable
from models.platform.settings import settings

if TYPE_CHECKING:
    from httpx2 import Client

log = logging.getLogger(__name__)
LOOKUPS = Counter("breached_password_lookups_total", "Questions to the breach service.", ["result"])
DIGITS = 5  # hexadecimal digits that the service learns
SECONDS, LARGEST_ANSWER = 3, 1_000_000  # bytes; an answer has about 40,000


class BreachServiceAway(Unavailable):
    code, message = "breach_service_unavailable", "The password cannot be checked now. Retry shortly."


class _Unusable(Exception):
    """The answer is not one to rely on; the message says why."""


def is_known(digest: bytes) -> bool:
    """Whether the service knows the password with this SHA-1 hash. Without an answer: False, unless
    BREACH_SERVICE_REQUIRED is set; then it raises BreachServiceAway."""
    import httpx2

    text = digest.hex().upper()
    try:
        known = _has_suffix(_answer(text[:DIGITS]), text[DIGITS:])
    except (httpx2.HTTPError, _Unusable) as error:
        LOOKUPS.labels("unavailable").inc()
        log.warning("breached_passwords.unavailable", extra={"reason": repr(error)})
        if settings.breach_service_required:
            raise BreachServiceAway() from error
        return False
    LOOKUPS.labels("known" if known else "unknown").inc()
    return known


def _answer(prefix: str) -> bytes:
    url, until = f"{(settings.breach_service or '').rstrip('/')}/{prefix}", time.monotonic() + SECONDS
    body = b""
    with _client().stream("GET", url, headers={"Add-Padding": "true"}) as response:
        if response.status_code != 200:
            raise _Unusable(f"status {response.status_code}")
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > LARGEST_ANSWER or time.monotonic() > until:
                raise _Unusable("the answer is too long or too slow")
    return body


def _has_suffix(answer: bytes, suffix: str) -> bool:
    """Lines are `SUFFIX:COUNT`; a count of 0 is padding."""
    for line in answer.decode("ascii", "replace").splitlines():
        found, _, count = line.strip().partition(":")
        if found.upper() == suffix:
            return count != "0"
    return False


@cache
def _client() -> "Client":
    """Redirects are not followed: the question goes to the configured service and to nobody else."""
    import httpx2

    return httpx2.Client(timeout=SECONDS, follow_redirects=False)
