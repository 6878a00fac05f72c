"""Times on the wire."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from models.platform.clock import iso, iso_or_none


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05.000000Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(0))), "2026-01-02T03:04:05.000678Z"),
        (datetime(2026, 1, 2, 1, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T23:04:05.000000Z"),
        (
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
            "2026-01-02T08:34:05.000000Z",
        ),
    ],
)
def test_times_are_written_in_utc_with_microseconds(moment, text):
    assert iso(moment) == iso_or_none(moment) == text


def test_no_time_is_null():
    assert iso_or_none(None) is None
