"""Pages of long lists by keyset: each page continues after the last row of the one before, so none is lost or repeated."""

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from peewee import DateTimeField, Model, Tuple, UUIDField

from models.platform.database import database
from models.platform.errors import BadRequest

if TYPE_CHECKING:
    from peewee import Field, ModelSelect  # generic in peewee's type stubs only

T = TypeVar("T")
Row = TypeVar("Row", bound=Model)
LARGEST_INTEGER = 2**63 - 1


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
        keys = Keys(*[_type(column) for column in columns])
        query = query.order_by(*[column.desc() for column in columns])
        if cursor is not None:
            query = query.where(Tuple(*columns) < Tuple(*keys.decode(cursor)))
        # Straight from the driver: peewee's own conversion of a long list costs more than the query.
        rows = [item(*values) for values in database.execute(query.limit(limit + 1)).fetchall()]  # type: ignore[no-untyped-call]
        return cls.cut(rows, limit, lambda row: keys.encode([getattr(row, column.name) for column in columns]))

    @classmethod
    def cut(cls, rows: list[T], limit: int, cursor_of: Callable[[T], str]) -> "KeysetPage[T]":
        """A page of `limit` of these rows. One more than that shows that there is another page."""
        return cls(rows[:limit], cursor_of(rows[limit - 1]) if len(rows) > limit else None)


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """A slice of a list, the newest first, that clients read by limit and offset, or by cursor. `total` counts the whole list.

    `next_cursor` leads on from here, however the slice was asked for. It is None on the last page.
    """

    items: list[Row]
    total: int
    next_cursor: str | None

    @classmethod
    def of(cls, query: "ModelSelect[Row]", *, limit: int, offset: int = 0, cursor: str | None = None) -> "Listing[Row]":
        """`limit` rows of a query without an order, after the first `offset`, or after the row of `cursor`. InvalidCursor."""
        model: Any = query.model
        keys, total = Keys(datetime, UUID), query.count()
        query = query.order_by(model.created_at.desc(), model.id.desc())
        if cursor is not None:
            query, offset = query.where(Tuple(model.created_at, model.id) < Tuple(*keys.decode(cursor))), 0
        rows: list[Any] = list(query.limit(limit + 1).offset(offset))
        page = KeysetPage.cut(rows, limit, lambda row: keys.encode([row.created_at, row.id]))
        return cls(page.items, total, page.next_cursor)


class Keys:
    """The values that a cursor holds, by their types. They come back exactly as they were, floats too."""

    def __init__(self, *types: type) -> None:
        self.types = types

    def encode(self, values: Sequence[Any]) -> str:
        text = "|".join(value.isoformat() if isinstance(value, datetime) else str(value) for value in values)
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def decode(self, cursor: str) -> list[Any]:
        """InvalidCursor if these are not such values."""
        try:
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
            return [PARSERS[kind](part) for kind, part in zip(self.types, text.split("|"), strict=True)]
        except (ValueError, TypeError, OverflowError):
            raise InvalidCursor() from None


def _type(column: "Field[Any]") -> type:
    if isinstance(column, DateTimeField):
        return datetime
    if isinstance(column, UUIDField):
        return UUID
    raise AssertionError(f"{column} cannot be part of a cursor")


def _parse_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a cursor's time has a time zone")
    return time.astimezone(UTC)  # Postgres does not know all time zones that Python does


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a cursor's number is finite")
    return number


def _parse_integer(text: str) -> int:
    number = int(text)
    if not 0 <= number <= LARGEST_INTEGER:
        raise ValueError("out of range")
    return number


PARSERS: dict[type, Callable[[str], Any]] = {
    datetime: _parse_time,
    UUID: UUID,
    float: _parse_float,
    int: _parse_integer,
}
