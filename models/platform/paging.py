"""Pages of lists, as the database returns them and the edge answers them."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from peewee import Model, ModelSelect

T = TypeVar("T", bound=Model)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A slice of a list that clients read by limit and offset. `total` counts the whole list."""

    items: list[T]
    total: int

    @classmethod
    def of(cls, query: "ModelSelect[T]", *, limit: int, offset: int) -> "Page[T]":
        """Run an ordered query: `limit` rows after the first `offset`, and the number of all of them."""
        return cls(list(query.limit(limit).offset(offset)), query.count())
