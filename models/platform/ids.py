"""Identifiers: making new ones, and parsing those that clients send."""

from uuid import UUID

from uuid_utils.compat import uuid7 as new_uuid7


def uuid7() -> UUID:
    """A time-ordered id (RFC 9562), so that new rows are added at the end of their index."""
    return new_uuid7()


def parse_uuid(text: object) -> UUID | None:
    """The UUID in `text`; None if it is none. A UUID is returned as it is."""
    if isinstance(text, UUID):
        return text
    try:
        return UUID(str(text)) if len(str(text)) in (32, 36) else None
    except ValueError:
        return None
