"""Calendar arithmetic of billing periods, in Unix time and UTC."""

import calendar
from datetime import UTC, datetime, timedelta

_MONTHS = {"month": 1, "year": 12}
_DAYS = {"day": 1, "week": 7}


def add(start: int, interval: str, count: int, anchor: int | None = None) -> int:
    """`count` intervals after `start`. Months keep the day of the `anchor`: 31 January, 28 February, 31 March."""
    if interval in _DAYS:
        return start + _DAYS[interval] * count * 86400
    then, day = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(anchor or start, UTC).day
    months = then.year * 12 + then.month - 1 + _MONTHS[interval] * count
    year, month = divmod(months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return int(then.replace(year=year, month=month + 1, day=min(day, last)).timestamp())


def day(time: int) -> str:
    """As descriptions of lines name it: 26 Nov 2026."""
    return f"{datetime.fromtimestamp(time, UTC):%d %b %Y}"


_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}


def later(start: int, span: str) -> int:
    """`start` and a time such as "1 month", "3 days" or "1 year 2 hours". ValueError if it is something else."""
    words = span.split()
    if not words or len(words) % 2:
        raise ValueError(f"{span!r} is not a time: say, for instance, 1 month")
    for number, word in zip(words[::2], words[1::2], strict=True):
        unit = word.removesuffix("s")
        if not number.isdecimal() or unit not in {*_UNITS, *_MONTHS}:
            raise ValueError(f"{number} {word} is not a time: say, for instance, 1 month, or 2 days")
        if unit in _MONTHS:
            start = add(start, unit, int(number))
        else:
            start = int(
                (datetime.fromtimestamp(start, UTC) + timedelta(seconds=_UNITS[unit] * int(number))).timestamp()
            )
    return start
