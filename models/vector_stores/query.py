"""What the parts of one search share."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.vector_stores.filters import Condition

Key = tuple[int, int]  # of a chunk: its edition and position


@dataclass(frozen=True, slots=True)
class Query:
    """A search in one table. `upto`: the last edition that the table's index of vectors has; 0 if it has no index."""

    store_id: UUID
    table: str
    dimensions: int
    condition: Condition | None
    upto: int
    limit: int

    def sql(self, template: str, **more: str) -> str:
        names = {"table": self.table, "dimensions": self.dimensions, "upto": self.upto}
        return template.format(matching=matching(self.condition), **names, **more)

    @property
    def values(self) -> tuple[Any, ...]:
        """The values of the placeholders in `{matching}`."""
        return self.condition.values if self.condition else ()


def matching(condition: Condition | None) -> str:
    return f"({condition.on('f.attributes')})" if condition else "true"
