"""Handing mails over: to a mail server by SMTP, or to Resend by its API. One interface for both."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from models.platform.settings import settings
from workers.gateways.outgoing import Mail, MailFailed, MailNotConfigured
from workers.gateways.resend import Resend
from workers.gateways.smtp import Smtp

__all__ = ["Mail", "MailFailed", "MailNotConfigured", "Way", "way"]


class Way(Protocol):
    def send(self, mail: Mail) -> None:
        """Hand one mail over. MailFailed."""

    def close(self) -> None: ...


@contextmanager
def way() -> Iterator[Way]:
    """How this installation sends mails. It connects with the first mail, and keeps the connection. For one thread."""
    found: Way = Resend() if settings.resend_email_enabled else Smtp()
    try:
        yield found
    finally:
        found.close()


def sender_address() -> str:
    """What mails have in From."""
    by_resend = settings.resend_email_enabled and settings.resend_default_from
    return by_resend or settings.mail_from
