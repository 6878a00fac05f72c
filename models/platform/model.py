"""Base classes of all tables: a time-ordered id, a creation time, and, for the rows of tenants, who may see them."""

import re
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast
from uuid import UUID

import peewee
from playhouse.postgres_ext import BinaryJSONField

from models.platform import authorization
from models.platform.authorization import Action, Rows
from models.platform.clock import now
from models.platform.database import database
from models.platform.ids import uuid7
from models.platform.principal import Principal

if TYPE_CHECKING:
    from peewee import DateTimeField as DateTimeTZField  # the same for a reader, and it has type stubs
else:
    from playhouse.postgres_ext import DateTimeTZField

__all__ = ["BinaryJSONField", "DateTimeTZField", "Model", "TenantModel"]


class Model(peewee.Model):
    id = peewee.UUIDField(primary_key=True, default=uuid7)
    created_at = DateTimeTZField(default=now)

    class Meta:
        database = database
        legacy_table_names = False

    @classmethod
    def lock(cls, row_id: UUID) -> Self | None:
        """The row, locked until the end of the transaction; None when it is gone."""
        return cls.select().where(cls.id == row_id).for_update().get_or_none()

    @classmethod
    def insert_if_new(cls, **columns: Any) -> Self | None:
        """The new row; None, and nothing is written, if a unique index already holds one like it."""
        rows: list[Self] = list(cls.insert(**columns).on_conflict_ignore().returning(cls).execute())
        return rows[0] if rows else None

    @classmethod
    def one(cls, statement: str, **values: object) -> Self | None:
        """The row that a fixed statement returns, or None. The statement is prepared once: use it on hot paths.

        `{columns}` or `{table.columns}` in the statement stands for all columns of this model.
        """
        cursor = database.execute_prepared(_with_columns(cls, statement), values)
        row = cursor.fetchone()
        return None if row is None else cls(__no_default__=True, **dict(zip(_names(cursor), row, strict=True)))

    @classmethod
    def one_with_extras(cls, statement: str, **values: object) -> tuple[Self, dict[str, Any]] | None:
        """Like `one`, for a statement that also returns columns that are not the model's: (row, {column: value})."""
        rows = cls.all_with_extras(statement, **values)
        return rows[0] if rows else None

    @classmethod
    def all(cls, statement: str, **values: object) -> list[Self]:
        """Like `one`, for a statement that returns any number of rows."""
        cursor = database.execute_prepared(_with_columns(cls, statement), values)
        names = _names(cursor)
        return [cls(__no_default__=True, **dict(zip(names, row, strict=True))) for row in cursor.fetchall()]

    @classmethod
    def all_with_extras(cls, statement: str, **values: object) -> list[tuple[Self, dict[str, Any]]]:
        """Like `one_with_extras`, for a statement that returns any number of rows."""
        cursor = database.execute_prepared(_with_columns(cls, statement), values)
        names = _names(cursor)
        extras = set(names) - cls._meta.columns.keys()
        found = []
        for row in cursor.fetchall():
            columns = dict(zip(names, row, strict=True))
            more = {name: columns.pop(name) for name in extras}
            found.append((cls(__no_default__=True, **columns), more))
        return found


def _names(cursor: Any) -> list[str]:
    return [column[0] for column in cursor.description]


@cache
def _with_columns(model: type[Model], statement: str) -> str:
    def columns(match: re.Match[str]) -> str:
        return ", ".join((match[1] or "") + field.column_name for field in model._meta.sorted_fields)  # noqa: SLF001  (peewee documents it)

    return re.sub(r"\{(\w+\.)?columns\}", columns, statement)


class TenantModel(Model):
    """A row that belongs to a tenant. Routes may only read such rows through `visible_to`.

    `owner` names the column with the id of the user that a row belongs to, or is None if the whole tenant shares the
    rows. `reading` is the action that shows rows. A subclass that does not declare both raises TypeError.
    """

    owner: ClassVar[str | None]
    reading: ClassVar[Action]
    tenant_id = peewee.UUIDField()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "owner" not in cls.__dict__ or "reading" not in cls.__dict__:
            raise TypeError(f"{cls.__name__} must declare `owner`, the column of a row's user or None, and `reading`.")
        if (cls.reading.rows is Rows.OWN) != (cls.owner is not None):
            raise TypeError(
                f"{cls.__name__} has an owner, or {cls.reading.name} covers one's own rows: both or neither."
            )

    @classmethod
    def visible_to(cls, principal: Principal) -> "peewee.ModelSelect[Self]":
        """A query for the rows that this caller may read. Whoever changes a row must be able to see it, too."""
        query = cls.select()
        match authorization.rows(principal, cls.reading):
            case Rows.ALL:
                return query
            case Rows.TENANT:
                return query.where(cls.tenant_id == principal.tenant_id)
            case Rows.OWN:
                is_own = getattr(cls, cast(str, cls.owner)) == principal.user_id
                return query.where((cls.tenant_id == principal.tenant_id) & is_own)
            case Rows.NONE:
                return query.where(peewee.SQL("false"))
