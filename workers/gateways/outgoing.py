"""A mail on its way out, and how handing it over fails: what the ways of sending it have in common."""

from dataclasses import dataclass
from email.message import EmailMessage


class MailFailed(Exception):
    """It was not handed over, or nobody knows. The text has no address in it.

    `is_permanent`: this mail to this address will never be accepted. `retry_after`: seconds, if the other side has named them.
    `is_about_address`: the other side works, and does not take mails to this address, now or ever.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_permanent: bool = False,
        is_timeout: bool = False,
        is_about_address: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.is_about_address = is_about_address
        self.is_permanent, self.is_timeout, self.retry_after = is_permanent, is_timeout, retry_after


class MailNotConfigured(MailFailed):
    """Neither SMTP_URL nor RESEND_EMAIL_ENABLED is set."""


@dataclass(frozen=True, slots=True)
class Mail:
    """`to`: the one recipient, whatever the To header says. `key`: the same at each attempt. `category`: what it is about."""

    message: EmailMessage
    to: str
    key: str
    category: str
