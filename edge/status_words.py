"""States in words, tones and bars, as the status page shows them. Tones are classes of its style sheet."""

import math
from datetime import datetime

from models.status.views import Day, IncidentView, ServiceView

WORDS = {
    "operational": "Operational",
    "degraded": "Degraded",
    "incident": "Incident",
    "maintenance": "Maintenance",
    "unknown": "No data",
    "investigating": "Investigating",
    "identified": "Identified",
    "monitoring": "Monitoring",
    "resolved": "Resolved",
    "scheduled": "Scheduled",
    "in_progress": "In progress",
    "verifying": "Verifying",
    "completed": "Completed",
    "minor": "Minor incident",
    "major": "Major incident",
    "critical": "Critical incident",
}
TONES = {
    "operational": "good",
    "degraded": "slow",
    "incident": "bad",
    "maintenance": "plan",
    "unknown": "none",
    "investigating": "bad",
    "identified": "slow",
    "monitoring": "slow",
    "resolved": "good",
    "scheduled": "plan",
    "in_progress": "plan",
    "verifying": "plan",
    "completed": "good",
    "positive": "good",
    "neutral": "none",
    "negative": "bad",
}
# Of a day's bar, of 34: a state is told by more than its colour.
HEIGHTS = {"operational": 22, "degraded": 28, "incident": 34, "maintenance": 16, "unknown": 6}


def tone_of(incident: IncidentView) -> str:
    if not incident.is_open:
        return "good"
    if incident.is_maintenance:
        return "plan"
    return "slow" if incident.severity == "minor" else "bad"


def moment(when: datetime) -> str:
    return f"{when.day} {when:%b %Y, %H:%M}"


def since(end: datetime, start: datetime) -> str:
    """How long it took, such as `2 h 5 min`."""
    minutes = max(1, round((end - start).total_seconds() / 60))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    units = ((days, "d"), (hours, "h"), (0 if days else minutes, "min"))
    return " ".join(f"{number} {unit}" for number, unit in units if number)


def percent(value: float) -> str:
    """Two decimals, cut off: 99.999 is not 100."""
    return "100%" if value >= 100 else f"{math.floor(value * 100) / 100:.2f}%"


def uptime(service: ServiceView) -> str:
    return "Not measured" if service.uptime is None else f"{percent(service.uptime)} uptime"


def day_in_words(day: Day) -> str:
    parts = [WORDS[day.state].lower()]
    if day.uptime is not None:
        parts.append(f"{percent(day.uptime)} uptime")
    if day.incidents:
        parts.append("1 incident" if day.incidents == 1 else f"{day.incidents} incidents")
    return f"{day.date.day} {day.date:%b %Y}: {', '.join(parts)}"


def in_words(service: ServiceView) -> str:
    """What its bars show, for those who do not see them."""
    troubled = [day_in_words(day) for day in service.days if day.state not in ("operational", "unknown")]
    unknown = sum(day.state == "unknown" for day in service.days)
    parts = [f"{service.name}, {len(service.days)} days: {uptime(service).lower()}", *troubled]
    if unknown:
        parts.append(f"no data of {unknown} {'day' if unknown == 1 else 'days'}")
    if not troubled and not unknown:
        parts.append("no incidents")
    return "; ".join(parts) + "."
