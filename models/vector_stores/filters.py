"""Filters of a search: conditions on the attributes of files, in the form of the provider's API.

{"type": "eq", "key": "year", "value": 2024}: also ne, gt, gte, lt, lte; in and nin take a list. {"type": "and" | "or",
"filters": [...]} combines them. A number is compared with numbers only, a text with texts, true and false for equality.
A file without the attribute matches only ne and nin.
"""

import math
from dataclasses import dataclass
from typing import Any

from models.platform.database import Json
from models.platform.errors import DomainError

DEEPEST, MOST = 8, 100  # levels of and/or; conditions, and values of one `in`
MOST_VALUES = 500  # of all `in` and `nin` together: thousands of chunks are compared with each
LONGEST_KEY, LONGEST_TEXT = 64, 512  # characters, as of attributes
ORDER = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
TYPES = ("eq", "ne", *ORDER, "in", "nin", "and", "or")


class InvalidFilters(DomainError):
    status, code, message = 422, "invalid_filters", "The filters are not valid."


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL that is true for matching files. It names the jsonb column as `{attributes}`."""

    sql: str
    values: tuple[Any, ...]

    def on(self, column: str) -> str:
        return self.sql.replace("{attributes}", column)


def parse(filters: Any) -> Condition | None:
    """The condition of filters as a client sends them; None if there are none. InvalidFilters says what is wrong."""
    if filters is None or filters == {}:
        return None
    reader = _Reader()
    return reader.read(filters, "filters", 1)


class _Reader:
    def __init__(self) -> None:
        self.count = self.values = 0

    def read(self, given: Any, where: str, depth: int) -> Condition:
        self.count += 1
        if depth > DEEPEST:
            raise InvalidFilters(f"{where}: filters may be nested {DEEPEST} levels deep.")
        if self.count > MOST:
            raise InvalidFilters(f"There may be {MOST} filters at most.")
        if not isinstance(given, dict):
            raise InvalidFilters(f"{where} must be an object.")
        kind = given.get("type")
        if not isinstance(kind, str) or kind not in TYPES:
            raise InvalidFilters(f"{where}.type must be one of {', '.join(TYPES)}.")
        if kind in ("and", "or"):
            _only(given, {"type", "filters"}, where)
            return self._compound(kind, given.get("filters"), f"{where}.filters", depth)
        _only(given, {"type", "key", "value"}, where)
        key = _key(given.get("key"), f"{where}.key")
        if kind in ("in", "nin"):
            return self._one_of(key, kind == "in", given.get("value"), f"{where}.value")
        value = _value(given.get("value"), f"{where}.value")
        if kind == "eq":
            return Condition("{attributes} -> %s = %s", (key, Json(value)))
        if kind == "ne":
            return Condition("{attributes} -> %s is distinct from %s", (key, Json(value)))
        if isinstance(value, bool):
            raise InvalidFilters(f"{where}.value: true and false have no order.")
        # Compared as jsonb: a cast to numbers could fail for another file's text.
        alike = "jsonb_typeof({attributes} -> %s) = jsonb_typeof(%s)"
        sql = f"({alike} and {{attributes}} -> %s {ORDER[kind]} %s)"
        return Condition(sql, (key, Json(value), key, Json(value)))

    def _compound(self, kind: str, given: Any, where: str, depth: int) -> Condition:
        if not isinstance(given, list) or not given:
            raise InvalidFilters(f"{where} must be a list of one filter or more.")
        parts = [self.read(part, f"{where}[{number}]", depth + 1) for number, part in enumerate(given)]
        sql = f" {kind} ".join(f"({part.sql}) is true" for part in parts)
        return Condition(f"({sql})", tuple(value for part in parts for value in part.values))

    def _one_of(self, key: str, is_in: bool, given: Any, where: str) -> Condition:
        if not isinstance(given, list) or not 1 <= len(given) <= MOST:
            raise InvalidFilters(f"{where} must be a list of 1 to {MOST} values.")
        self.values += len(given)
        if self.values > MOST_VALUES:
            raise InvalidFilters(f"All in and nin together may have {MOST_VALUES} values at most.")
        values = [Json(_value(value, f"{where}[{number}]")) for number, value in enumerate(given)]
        among = f"coalesce({{attributes}} -> %s in ({', '.join(['%s'] * len(values))}), false)"
        return Condition(among if is_in else f"not {among}", (key, *values))


def _only(given: dict[str, Any], names: set[str], where: str) -> None:
    if unknown := given.keys() - names:
        raise InvalidFilters(f"{where} has an unknown member: {str(min(map(str, unknown)))[:LONGEST_KEY]}.")


def _key(given: Any, where: str) -> str:
    if not isinstance(given, str) or not 1 <= len(given) <= LONGEST_KEY or "\x00" in given:
        raise InvalidFilters(f"{where} must be a text of 1 to {LONGEST_KEY} characters.")
    return _storable(given, where)


def _value(given: Any, where: str) -> str | float | bool:
    if isinstance(given, str):
        if len(given) > LONGEST_TEXT or "\x00" in given:
            raise InvalidFilters(f"{where} must be a text of at most {LONGEST_TEXT} characters, without NUL.")
        return _storable(given, where)
    if isinstance(given, bool) or (isinstance(given, int) and abs(given) < 10**300):
        return given
    if isinstance(given, float) and math.isfinite(given):
        return given
    raise InvalidFilters(f"{where} must be a text, a number, true or false.")


def _storable(text: str, where: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidFilters(f"{where} is not valid Unicode.")
    return text
