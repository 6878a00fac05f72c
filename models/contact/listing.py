"""The messages of the contact form as operators list them."""

from typing import Any, NamedTuple

from peewee import fn

from models.auth.email_addresses import normalize_email
from models.contact.messages import ContactMessage
from models.platform.keyset import KeysetPage

FIELDS = tuple(ContactMessage._meta.sorted_fields)  # noqa: SLF001  (peewee documents it)
COLUMNS: list[Any] = [ContactMessage.created_at, ContactMessage.id]


class Filter(NamedTuple):
    """What is not None narrows it. `email`: in any case of its letters."""

    state: str | None = None
    email: str | None = None
    assignee: str | None = None

    def narrow(self, query: Any) -> Any:
        if self.state is not None:
            query = query.where(ContactMessage.state == self.state)
        if self.email is not None:
            query = query.where(fn.lower(ContactMessage.email) == normalize_email(self.email))
        if self.assignee is not None:
            query = query.where(ContactMessage.assignee == self.assignee)
        return query


def page(wanted: Filter, limit: int, cursor: str | None = None) -> KeysetPage[ContactMessage]:
    """A page of messages, the newest first. InvalidCursor."""
    query = wanted.narrow(ContactMessage.select(*FIELDS))
    return KeysetPage.of(query, _row, COLUMNS, limit, cursor)


def _row(*values: Any) -> ContactMessage:
    return ContactMessage(**dict(zip([field.name for field in FIELDS], values, strict=True)))
