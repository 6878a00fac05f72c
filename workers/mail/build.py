"""Building a mail from its templates: `templates/<name>.txt`, which also sets the subject, and `<name>.html` on `layout.html`.

A template sets `subject`, to which the product's name is added, or `full_subject`.
"""

import textwrap
from collections.abc import Iterator, Mapping
from email.header import Header
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import parseaddr
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.mail.addresses import is_single
from models.platform.clock import now
from models.platform.settings import settings
from workers.gateways.mail import sender_address

if TYPE_CHECKING:
    from css_inline import CSSInliner
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
LONGEST_SUBJECT, WIDTH = 200, 76  # characters
LIST_UNSUBSCRIBE = "List-Unsubscribe"


class _Policy(EmailPolicy):
    """Folds two headers better than the library.

    A long address would become encoded words, which mail programs do not read there; of a long subject that is not ASCII,
    spaces would get lost.
    """

    def fold(self, name: str, value: Any) -> str:
        if name == LIST_UNSUBSCRIBE:
            return f"{name}: {value}{self.linesep}"
        if name == "Subject":
            return f"{name}: {Header(str(value), header_name=name).encode(linesep=self.linesep)}{self.linesep}"
        folded: str = super().fold(name, value)
        return folded

    def fold_binary(self, name: str, value: Any) -> bytes:
        is_ours = name in (LIST_UNSUBSCRIBE, "Subject")
        return self.fold(name, value).encode() if is_ours else super().fold_binary(name, value)


_HEADERS = _Policy()
_BODIES = EmailPolicy(max_line_length=998, cte_type="7bit")  # PERF: most are sent as they are; encoding is slow


class NotAnAddress(ValueError):
    """More than one address, none, or one with a name, a comment or a line break."""


def build(
    to: str,
    template: str,
    message_id: str,
    values: Mapping[str, object],
    *,
    reply_to: str | None = None,
    headers: Mapping[str, str] | None = None,
    unsubscribe_url: str | None = None,
) -> EmailMessage:
    """The mail, with plain text and HTML. NotAnAddress; ValueError for a header with a line break.

    With `unsubscribe_url`, mail programs show a button that posts to it (RFC 8058), and both texts end with it as a link.
    """
    if not is_single(to) or not (reply_to is None or is_single(reply_to)):
        raise NotAnAddress("This is not the address of one mailbox.")
    subject, text, html = rendered(template, {**values, "unsubscribe_url": unsubscribe_url})
    message = EmailMessage(policy=_BODIES)
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    message.policy = _HEADERS
    message["From"], message["To"], message["Subject"] = sender_address(), to, subject
    if reply_to:
        message["Reply-To"] = reply_to
    message["Message-ID"] = f"<{message_id}@{_domain()}>"
    message["Date"] = now()
    message["Auto-Submitted"] = "auto-generated"
    if unsubscribe_url:
        message[LIST_UNSUBSCRIBE] = f"<{unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    for name, value in (headers or {}).items():
        message[name] = value
    return message


def rendered(template: str, values: Mapping[str, object]) -> tuple[str, str, str]:
    """The subject, the plain text, and the HTML with its styles inlined."""
    known: dict[str, Any] = {"site": site(), "app": settings.app_name, "unsubscribe_url": None, **values}
    plain = _environment().get_template(f"{template}.txt").make_module(known)
    found = vars(plain)
    subject = line(found.get("full_subject") or f"{settings.app_name}: {found['subject']}")
    subject = subject.replace("=?", "= ?")[:LONGEST_SUBJECT]  # the library would decode it, line breaks too
    text = "\n".join(_wrapped(str(plain).strip()))
    if url := known["unsubscribe_url"]:
        text = f"{text}\n\nTo get no more of these mails, open\n\n{url}"
    heading = line(found.get("heading") or found.get("subject") or subject)
    page = _environment().get_template(f"{template}.html").render(known | {"subject": subject, "heading": heading})
    return subject, text, _inliner().inline(page)


def line(text: object) -> str:
    """The text on one line, without control characters."""
    return " ".join("".join(one if one.isprintable() else " " for one in str(text)).split())


def _wrapped(text: str) -> Iterator[str]:
    """Lines that are not too long to read; links and codes stay whole."""
    for one in text.splitlines():
        yield from textwrap.wrap(one, WIDTH, break_long_words=False, break_on_hyphens=False) or [""]


def site() -> str:
    """Where links in mails lead, without a slash at the end."""
    return settings.app_public_url.rstrip("/")


@cache
def _environment() -> "Environment":
    from jinja2 import (  # PERF: a worker of other queues never needs it
        Environment,
        FileSystemLoader,
        StrictUndefined,
        select_autoescape,
    )

    found = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=select_autoescape(["html"])
    )
    found.filters["line"] = line
    return found


@cache
def _inliner() -> "CSSInliner":
    from css_inline import CSSInliner

    return CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)


def _domain() -> str:
    return parseaddr(sender_address())[1].rpartition("@")[2] or "localhost"
