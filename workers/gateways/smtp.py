"""The mail server, by SMTP."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, unquote, urlsplit

from models.platform.connections import may_be_plain
from models.platform.settings import settings

TIMEOUT = 20  # seconds for each answer of the server


class MailNotConfigured(Exception):
    """SMTP_URL is not set."""


class MailNotEncrypted(smtplib.SMTPException):
    """The server does not offer STARTTLS, or somebody between us and it has removed the offer."""


@contextmanager
def connection() -> Iterator[smtplib.SMTP]:
    """A connection to the server of SMTP_URL, logged in if the URL has a user.

    It is encrypted, unless the server offers no encryption and is this machine or one of PRIVATE_HOSTS.
    Raises MailNotConfigured, smtplib.SMTPException or OSError.
    """
    if not settings.smtp_url:
        raise MailNotConfigured("SMTP_URL is not set: mails cannot be sent.")
    url = urlsplit(settings.smtp_url.get_secret_value())
    server = _connect(url)
    try:
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        server.close()
        raise
    with server:
        yield server


def _connect(url: SplitResult) -> smtplib.SMTP:
    host, context = url.hostname or "localhost", ssl.create_default_context()
    if url.scheme == "smtps":
        return smtplib.SMTP_SSL(host, url.port or 465, timeout=TIMEOUT, context=context)
    server = smtplib.SMTP(host, url.port or 25, timeout=TIMEOUT)
    try:
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
        elif not may_be_plain(url.hostname, settings):
            raise MailNotEncrypted(f"{url.hostname} does not offer STARTTLS: nothing was sent.")
    except BaseException:
        server.close()
        raise
    return server
