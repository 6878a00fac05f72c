"""Who gets the messages of the contact form."""

import json
from email.utils import parseaddr

from models.platform.settings import Settings, settings

MOST = 50


class RecipientsInvalid(ValueError):
    """CONTACT_EMAIL_TO cannot be understood."""


def recipients(configured: Settings = settings) -> list[str]:
    """The addresses of CONTACT_EMAIL_TO, a comma list or a JSON list, each once. RecipientsInvalid."""
    text = configured.contact_email_to.strip()
    try:
        found = json.loads(text) if text.startswith("[") else Settings.items(text)
    except ValueError:
        raise RecipientsInvalid("is no JSON list") from None
    if not found or len(found) > MOST:
        raise RecipientsInvalid(f"needs 1 to {MOST} addresses")
    for address in found:
        if not isinstance(address, str) or parseaddr(address)[1] != address or "@" not in address:
            raise RecipientsInvalid(f"contains {address!r}, which is no plain address")
    return list(dict.fromkeys(found))


def require_recipients() -> None:
    """SystemExit if CONTACT_EMAIL_TO cannot be understood."""
    try:
        recipients()
    except RecipientsInvalid as error:
        raise SystemExit(f"CONTACT_EMAIL_TO {error}: write addresses such as support@example.com.") from None
