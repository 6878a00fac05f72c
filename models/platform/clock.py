"""The current time, and how times are written in the API."""

from datetime import UTC, datetime, timedelta

NO_OFFSET = timedelta(0)


def now() -> datetime:
    return datetime.now(UTC)


def iso(time: datetime) -> str:
    """ISO 8601 in UTC with microseconds and Z."""
    if time.utcoffset() != NO_OFFSET:  # rows come in UTC, and converting costs more than formatting
        time = time.astimezone(UTC)
    return time.isoformat(timespec="microseconds")[:26] + "Z"


def minute_text(time: datetime) -> str:
    """A time in UTC as mails and messages write it: `2026-01-01 10:00 UTC`."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def iso_or_none(time: datetime | None) -> str | None:
    return iso(time) if time else None
