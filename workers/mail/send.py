"""Sending mails: one from its job by `send`, or many over one connection by `sender`."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from models.mail import suppressions
from models.mail.addresses import masked
from models.platform.clock import minute_text, now
from models.platform.database import release
from workers import metrics
from workers.gateways.mail import Mail, MailFailed, Way, way
from workers.lease import TryLater
from workers.mail.build import NotAnAddress, build
from workers.mail.kinds import KINDS
from workers.runtime import Lease

log = logging.getLogger(__name__)
SENT, FAILED, TIMED_OUT, SUPPRESSED = "success", "error", "timeout", "suppressed"  # results


def send(
    lease: Lease,
    to: str,
    template: str,
    *,
    message_id: str | None = None,
    reply_to: str | None = None,
    headers: Mapping[str, str] | None = None,
    unsubscribe_url: str | None = None,
    **values: object,
) -> bool:
    """Send a mail to one address. False: nothing was sent, as the address is suppressed. MailFailed: the job is then retried.

    A retry keeps its Message-ID, which is made from the job's id, so that mailboxes can tell a duplicate. Pass another
    `message_id` for a mail that differs at each attempt.
    """
    key = message_id or lease.job.id.hex
    more: dict[str, Any] = {**values, "reply_to": reply_to, "headers": headers, "unsubscribe_url": unsubscribe_url}
    try:
        with sender() as open_sender:
            return open_sender.send(to, template, message_id=key, **more)
    except MailFailed as error:
        if error.retry_after is None:
            raise
        raise TryLater(str(error), error.retry_after, is_failure=False) from None


@contextmanager
def sender() -> Iterator["Sender"]:
    """Sends many mails over one connection, which is opened by the first one. For one thread."""
    with way() as found:
        yield Sender(found)


class Sender:
    def __init__(self, by: Way) -> None:
        self.way = by

    def send(
        self,
        to: str,
        template: str,
        *,
        message_id: str,
        reply_to: str | None = None,
        headers: Mapping[str, str] | None = None,
        unsubscribe_url: str | None = None,
        **values: object,
    ) -> bool:
        """Send a mail, of those in KINDS, to one address. False: nothing was sent, as the address is suppressed.

        MailFailed, after which the sender can still be used. `message_id`: letters, digits, `-`, `_` and `.`; the same at each attempt
        of the same mail. `unsubscribe_url`: see `build`. `headers`: further ones. `values`: what the template needs.
        """
        kind = KINDS[template]
        if suppressions.is_suppressed(to, security=kind.is_security):
            _count(template, to, SUPPRESSED)
            return False
        more: dict[str, Any] = {"reply_to": reply_to, "headers": headers, "unsubscribe_url": unsubscribe_url}
        try:
            message = build(to, template, message_id, values, **more)
        except NotAnAddress as error:
            _count(template, to, FAILED)
            raise MailFailed(str(error), is_permanent=True) from None
        release()  # the other side may take its time
        began = time.monotonic()
        result = FAILED
        try:
            self.way.send(Mail(message, to, message_id, kind.category))
            result = SENT
        except MailFailed as error:
            result = TIMED_OUT if error.is_timeout else FAILED
            raise
        finally:
            _count(template, to, result, time.monotonic() - began)
        return True


def _count(template: str, to: str, result: str, seconds: float | None = None) -> None:
    metrics.mail_sent(KINDS[template].category, result, seconds)
    log.info("mail.sent", extra={"template": template, "recipient": masked(to), "result": result})


def expiry(minutes: float) -> str:
    """The time in `minutes` from now, as mails write it."""
    return minute_text(now() + timedelta(minutes=minutes))
