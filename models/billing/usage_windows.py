"""The windows in which usage is limited: a subscription's periods, or without one calendar months (UTC)."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

LENGTHS = {"daily": 1, "weekly": 7}  # of the plans' intervals that are no months, in days
MONTHS = {"monthly": 1, "yearly": 12}


class Interval(NamedTuple):
    """How often a plan renews: `unit` is daily, weekly, monthly or yearly."""

    unit: str
    times: int

    @property
    def longest(self) -> timedelta:
        return timedelta(days=self.times * (LENGTHS.get(self.unit) or 31 * MONTHS[self.unit]))

    def after(self, start: datetime, number: int = 1) -> datetime:
        """The time that is this number of intervals later. The 31st becomes the last day of a shorter month."""
        if self.unit in LENGTHS:
            return start + timedelta(days=LENGTHS[self.unit] * self.times * number)
        months = start.month - 1 + MONTHS[self.unit] * self.times * number
        year, month = start.year + months // 12, months % 12 + 1
        return start.replace(year=year, month=month, day=min(start.day, monthrange(year, month)[1]))


class Window(NamedTuple):
    """From `start`, to before `end`."""

    start: datetime
    end: datetime


def month(at: datetime) -> Window:
    """The calendar month in UTC around a time."""
    start = datetime(at.year, at.month, 1, tzinfo=UTC)
    return Window(start, Interval("monthly", 1).after(start))


def period(start: datetime, end: datetime | None, interval: Interval, at: datetime) -> Window:
    """The window around `at` of a subscription whose period was last known to be from `start` to `end`.

    Where the renewal has not been heard of yet, the periods go on by the plan's interval. A time before `start` is in
    the period that begins there.
    """
    first = Window(start, end if end is not None and end > start else interval.after(start))
    if at < first.end:
        return first
    # A period that was as long as the interval goes on from its own start: so the 31st comes again after a short month.
    anchor = start if interval.after(start) == first.end else first.end
    number = max(0, int((at - anchor) / interval.longest))
    while interval.after(anchor, number + 1) <= at:
        number += 1
    return Window(interval.after(anchor, number), interval.after(anchor, number + 1))
