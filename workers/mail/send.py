"""Building a mail from a template and handing it over to the mail server.

`templates/<name>.txt` is a mail's text, and sets its `subject`.
"""

from datetime import timedelta
from email.message import EmailMessage
from email.utils import parseaddr
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.platform.clock import now
from models.platform.database import release
from models.platform.settings import settings
from workers.gateways import smtp
from workers.runtime import Lease

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")


def send(lease: Lease, to: str, template: str, *, message_id: str | None = None, **values: object) -> None:
    """Send a mail to one address. Raises MailNotConfigured, SMTPException or OSError: the job is then retried.

    A retry keeps its Message-ID, which is made from the job's id, so that mailboxes can tell a duplicate. Pass another
    `message_id` for a mail that differs at each attempt.
    """
    release()  # a mail server may take its time
    message = build(to, template, message_id or lease.job.id.hex, values)
    with smtp.connection() as server:
        server.send_message(message, to_addrs=[to])  # exactly one, however the To header could be read


def build(to: str, template: str, message_id: str, values: dict[str, object]) -> EmailMessage:
    """The mail. ValueError for an address with a line break."""
    content = _environment().get_template(f"{template}.txt").make_module({"site": site(), **values})
    message = EmailMessage()
    message["From"], message["To"] = settings.mail_from, to
    message["Subject"] = f"{settings.app_name}: {vars(content)['subject']}"
    message["Message-ID"] = f"<{message_id}@{_domain()}>"
    message["Date"] = now()
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(str(content).strip())
    return message


def site() -> str:
    """Where links in mails lead, without a slash at the end."""
    return settings.app_public_url.rstrip("/")


def expiry(minutes: float) -> str:
    """The time in `minutes` from now, as mails write it."""
    return f"{now() + timedelta(minutes=minutes):%Y-%m-%d %H:%M} UTC"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # PERF: a worker of other queues never needs it

    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, undefined=StrictUndefined, autoescape=False)  # noqa: S701  (plain text)


def _domain() -> str:
    return parseaddr(settings.mail_from)[1].rpartition("@")[2] or "localhost"
