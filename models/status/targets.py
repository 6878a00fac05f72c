"""Targets of subscriptions as people write them, and the one form in which they are stored, compared and shown."""

from dataclasses import dataclass

from models.auth.email_addresses import normalize_email
from models.mail.addresses import masked
from models.platform import public_urls
from models.platform.errors import BadRequest
from models.status.subscriptions import EMAIL

LONGEST_ADDRESS, LONGEST_URL = 254, 2048  # characters
SHOWN_HOST = 255


class InvalidTarget(BadRequest):
    code, message = "invalid_target", "Target is required."


@dataclass(frozen=True, slots=True)
class Target:
    """`text`: the address or the URL. `masked`: what lists show of it. `host`: of a webhook, with its port."""

    channel: str
    text: str
    masked: str
    host: str = ""


def parse(channel: str, text: str) -> Target:
    """InvalidTarget. An address must have been checked before, as the edge does; it is only brought into its form."""
    if not text.strip():
        raise InvalidTarget()
    return _address(text) if channel == EMAIL else _url(text.strip())


def _address(text: str) -> Target:
    address = normalize_email(text)
    if len(address) > LONGEST_ADDRESS or not address.isprintable():
        raise InvalidTarget("This is no e-mail address.")
    return Target(EMAIL, address, masked(address))


def _url(text: str) -> Target:
    """Names in lower case, no usual port, no fragment. Only trusted hosts, in development, may have no TLS."""
    if len(text) > LONGEST_URL:
        raise InvalidTarget(f"Webhook URL must have {LONGEST_URL} characters at most.")
    try:
        found = public_urls.check(text)
    except public_urls.NotPublic as error:
        raise InvalidTarget(error.reason) from None
    if found.scheme != "https" and not found.trusted:
        raise InvalidTarget("Webhook targets must be HTTPS URLs.")
    host = found.authority
    return Target("webhook", f"{found.scheme}://{host}{found.path}", f"{found.scheme}://{host}/…", host[:SHOWN_HOST])
