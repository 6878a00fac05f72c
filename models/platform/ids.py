"""Identifiers: new ones, and those that callers send."""

from uuid import UUID

from uuid_utils.compat import uuid7 as new_uuid7


def uuid7() -> UUID:
    """A time-ordered id (RFC 9562): new rows land at the right edge of their index."""
    return new_uuid7()


def parse_uuid(text: object) -> UUID | None:
    """The UUID that `text` spells, or None: callers may send any text as an id."""
    if isinstance(text, UUID):
        return text
    try:
        return UUID(str(text)) if len(str(text)) in (32, 36) else None
    except ValueError:
        return None
