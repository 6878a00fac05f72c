"""The mail server, by SMTP."""

import smtplib
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import SplitResult, unquote, urlsplit

from models.mail.addresses import without_addresses
from models.platform.connections import may_be_plain
from models.platform.redaction import without_secrets
from models.platform.settings import settings
from workers.gateways.outgoing import Mail, MailFailed, MailNotConfigured

TIMEOUT = 20  # seconds for each answer of the server
IDLE_SECONDS, MOST_MAILS = 5, 100  # after which a connection is replaced: servers close those that idle, or send more
SERVER_LEAVES = 421


class MailNotEncrypted(smtplib.SMTPException):
    """The server does not offer STARTTLS, or somebody between us and it has removed the offer."""


class Smtp:
    """Sends mails, one after the other, over one connection. For one thread."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.server: smtplib.SMTP | None = None
        self.count, self.used_at = 0, 0.0

    def send(self, mail: Mail) -> None:
        """MailFailed, also when the server may have accepted it and was cut off before it could say so."""
        is_kept = self._is_usable()
        try:
            try:
                self._hand_over(mail)
            except smtplib.SMTPSenderRefused as error:
                if not is_kept or error.smtp_code != SERVER_LEAVES:
                    raise
                self._hand_over(mail)  # the server had enough of that connection, and has seen nothing of this mail
        except (smtplib.SMTPException, OSError) as error:
            raise _failure(error, mail.to) from None

    def _hand_over(self, mail: Mail) -> None:
        server = self._connected()
        try:
            server.send_message(mail.message, to_addrs=[mail.to])
        except smtplib.SMTPRecipientsRefused:
            raise  # the connection is fine
        except BaseException:
            self.close()
            raise
        finally:
            self.count, self.used_at = self.count + 1, time.monotonic()

    def _connected(self) -> smtplib.SMTP:
        if self.server is None or not self._is_usable():
            self.close()
            self.server, self.count = self.stack.enter_context(connection()), 0
        return self.server

    def _is_usable(self) -> bool:
        is_fresh = time.monotonic() - self.used_at < IDLE_SECONDS
        return self.server is not None and is_fresh and self.count < MOST_MAILS

    def close(self) -> None:
        self.server = None
        with suppress(smtplib.SMTPException, OSError):  # all mails are handed over: how it says goodbye does not matter
            self.stack.close()


def _failure(error: Exception, to: str) -> MailFailed:
    is_permanent, is_about_address, text = False, False, str(error)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = error.recipients[to]
        is_permanent, is_about_address, text = code >= 500, code != SERVER_LEAVES, _answer(code, said)
    elif isinstance(error, smtplib.SMTPResponseException):
        text = _answer(error.smtp_code, error.smtp_error)
    is_timeout = isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)
    reason = f"{type(error).__name__}: {without_addresses(without_secrets(text))}"
    return MailFailed(reason, is_permanent=is_permanent, is_timeout=is_timeout, is_about_address=is_about_address)


def _answer(code: int, said: bytes | str) -> str:
    return f"{code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"


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
