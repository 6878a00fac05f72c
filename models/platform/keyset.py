"""Pages of long lists by keyset: each page continues after the last row of the one before, so none is lost or repeated."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from peewee import DateTimeField, Tuple, UUIDField

from models.platform.database import database
from models.platform.errors import BadRequest

if TYPE_CHECKING:
    from peewee import Field, ModelSelect  # generic in peewee's type stubs only

T = TypeVar("T")


class InvalidCursor(BadRequest):
    code, message = "invalid_cursor", "Invalid pagination cursor"


@dataclass(frozen=True, slots=True)
class KeysetPage(Generic[T]):
    """`next_cursor` is what a client sends to get the following page. It is None on the last page."""

    items: list[T]
    next_cursor: str | None

    @classmethod
    def of(
        cls,
        query: "ModelSelect[Any]",
        item: Callable[..., T],
        columns: "Sequence[Field[Any]]",
        limit: int,
        cursor: str | None = None,
    ) -> "KeysetPage[T]":
        """At most `limit` rows of `query`, in descending order of `columns`. InvalidCursor if a cursor is not one of ours.

        `item` makes an item of a row's values. `columns` hold times or UUIDs, never null, and identify a row together.
        """
        query = query.order_by(*[column.desc() for column in columns])
        if cursor is not None:
            query = query.where(Tuple(*columns) < Tuple(*_decode(cursor, columns)))
        # Straight from the driver: peewee's own conversion of a long list costs more than the query.
        rows = [item(*values) for values in database.execute(query.limit(limit + 1)).fetchall()]  # type: ignore[no-untyped-call]
        return cls(rows[:limit], _encode(rows[limit - 1], columns) if len(rows) > limit else None)


def _encode(row: object, columns: "Sequence[Field[Any]]") -> str:
    values = [getattr(row, column.name) for column in columns]
    text = "|".join(value.isoformat() if isinstance(value, datetime) else str(value) for value in values)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str, columns: "Sequence[Field[Any]]") -> list[Any]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        return [_parser(column)(part) for column, part in zip(columns, text.split("|"), strict=True)]
    except (ValueError, TypeError):
        raise InvalidCursor() from None


def _parser(column: "Field[Any]") -> Callable[[str], Any]:
    if isinstance(column, DateTimeField):
        return _parse_time
    if isinstance(column, UUIDField):
        return UUID
    raise AssertionError(f"{column} cannot be part of a cursor")


def _parse_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a cursor's time has a time zone")
    return time
