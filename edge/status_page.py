"""The status page as it is sent. Each of its pages is rendered once per snapshot and kept as bytes."""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

from edge.pages import HTML, render, templates
from edge.rendered import Rendered
from edge.status_words import HEIGHTS, TONES, WORDS, day_in_words, in_words, moment, since, tone_of, uptime
from models.platform.clock import now
from models.platform.errors import NotFound
from models.status import published
from models.status.snapshot import IncidentView, Snapshot, current

OLD_SECONDS = 90  # a snapshot that is older could not be renewed
RECENT_DAYS = 14  # whose incidents are on the first page
FIRST_YEAR = 2000  # that has a history

templates.globals |= {"words": WORDS, "tones": TONES, "heights": HEIGHTS, "tone_of": tone_of, "uptime": uptime}
templates.filters |= {
    "iso": lambda when: f"{when:%Y-%m-%dT%H:%M:%SZ}",
    "moment": moment,
    "since": since,
    "zip": zip,
    "day_in_words": day_in_words,
    "in_words": in_words,
    "month_name": lambda month: f"{month:%B %Y}",
    "month_key": lambda month: f"{month:%Y-%m}",
}


class StatusPage:
    """The pages of this process. They belong to one snapshot; if that cannot be renewed, they say its age."""

    def __init__(self) -> None:
        self._key: tuple[datetime, int] | None = None
        self._made: dict[str, Rendered] = {}
        self._reading = threading.Lock()

    def now(self) -> Rendered:
        """The first page. StatusUnavailable, as all pages."""
        return self._once("now", _first_page)

    def incident(self, slug: str) -> Rendered:
        """The page of an incident or maintenance. IncidentNotFound (404)."""
        snapshot = current()
        if any(each.slug == slug for each in (*snapshot.incidents, *snapshot.maintenances)):
            return self._once(f"incident {slug}", lambda snapshot: _incident_page(snapshot, slug))
        return _sendable(render("incident.html", incident=published.by_slug(slug)))

    def history(self, month: str | None = None) -> Rendered:
        """The incidents of this month and of the one before it; or of one month, such as `2026-11`. NotFound (404)."""
        if month is None:
            return self._once("history", _recent_months)
        first, name = _first_of(month), f"history {month}"
        if made := self._pages(current()).get(name):  # also while another month takes its time
            return made
        with self._reading:  # of a crowd, one asks the database
            return self._once(name, lambda _: _one_month(first))

    def _pages(self, snapshot: Snapshot) -> dict[str, Rendered]:
        """Those that were made of this snapshot."""
        key = snapshot.generated_at, minutes_old(snapshot)
        if self._key != key:
            self._key, self._made = key, {}
        return self._made

    def _once(self, name: str, build: Callable[[Snapshot], str]) -> Rendered:
        snapshot = current()
        made = self._pages(snapshot)  # of this snapshot, also if building takes until there is another
        if name not in made:
            made[name] = _sendable(build(snapshot))
        return made[name]


def minutes_old(snapshot: Snapshot) -> int:
    """The snapshot's age in whole minutes, if it is one that could not be renewed; otherwise 0."""
    seconds = (now() - snapshot.generated_at).total_seconds()
    return int(seconds // 60) if seconds > OLD_SECONDS else 0


def _sendable(html: str) -> Rendered:
    return Rendered(html.encode(), HTML)


def _first_page(snapshot: Snapshot) -> str:
    began = now() - timedelta(days=RECENT_DAYS)
    both = (*snapshot.incidents, *snapshot.maintenances)
    past = [each for each in both if each.ended_at is not None and each.ended_at >= began]
    return render(
        "index.html",
        snapshot=snapshot,
        here="now",
        tone=TONES[snapshot.overview.status],
        minutes_old=minutes_old(snapshot),
        open=[each for each in snapshot.incidents if each.is_open],
        planned=sorted((each for each in snapshot.maintenances if each.is_open), key=_start),
        recent=sorted(past, key=_start, reverse=True),
        recent_days=RECENT_DAYS,
        groups=[(group, list(services)) for group, services in groupby(snapshot.services, key=lambda each: each.group)],
    )


def _incident_page(snapshot: Snapshot, slug: str) -> str:
    both = (*snapshot.incidents, *snapshot.maintenances)
    found = next((each for each in both if each.slug == slug), None)
    return render("incident.html", incident=found or published.by_slug(slug))


def _recent_months(snapshot: Snapshot) -> str:
    """From the snapshot alone, so that it is there without a database too."""
    this = now().date().replace(day=1)
    months = [(month, _of_month(snapshot, month)) for month in (this, _before(this))]
    return _history(months, newer=None, older=_before(_before(this)))


def _one_month(first: date) -> str:
    after = _after(first)
    incidents = published.between(_midnight(first), min(_midnight(after), now()))
    return _history(
        [(first, incidents)],
        newer=after if _midnight(after) <= now() else None,
        older=_before(first) if published.is_any_before(_midnight(first)) else None,
    )


def _history(months: list[tuple[date, list[IncidentView]]], *, newer: date | None, older: date | None) -> str:
    return render("history.html", here="history", months=months, newer=newer, older=older)


def _of_month(snapshot: Snapshot, month: date) -> list[IncidentView]:
    both = (*snapshot.incidents, *snapshot.maintenances)
    found = [each for each in both if each.starts_at.date().replace(day=1) == month and each.starts_at <= now()]
    return sorted(found, key=_start, reverse=True)


def _first_of(month: str) -> date:
    """The first day of a month that has a history. NotFound."""
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise NotFound() from None
    if f"{first:%Y-%m}" != month or first.year < FIRST_YEAR or first > now():
        raise NotFound()
    return first.date()


def _start(incident: IncidentView) -> datetime:
    return incident.starts_at


def _before(first: date) -> date:
    return (first - timedelta(days=1)).replace(day=1)


def _after(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def _midnight(day: date) -> Any:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
