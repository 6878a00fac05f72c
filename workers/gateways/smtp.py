"""The mail server, by SMTP."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, unquote, urlsplit

from models.platform.settings import settings

TIMEOUT = 20  # seconds for each answer of the server


class MailNotConfigured(Exception):
    """SMTP_URL is not set."""


@contextmanager
def connection() -> Iterator[smtplib.SMTP]:
    """A connection to the server of SMTP_URL, encrypted if the server can and logged in if the URL has a user.

    Raises MailNotConfigured, smtplib.SMTPException or OSError.
    """
    if not settings.smtp_url:
        raise MailNotConfigured("SMTP_URL is not set: mails cannot be sent.")
    url = urlsplit(settings.smtp_url)
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
    except BaseException:
        server.close()
        raise
    return server
