"""A platform with a history, for tests of the status page."""

from datetime import timedelta

from models.platform.clock import now

HOSTILE = "<script>alert(1)</script>\" onload='x' {{ 7 * 7 }} &amp; "
DAYS = """
insert into status_uptime (service, period, starts_at, measured, up, down, degraded, incident, maintenance)
select %(service)s, 'day', date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - number * interval '1 day',
    1440, 1440 - 30 * is_bad, 30 * is_bad, 0, 30 * is_bad, 0
from generate_series(0, %(days)s - 1) number, lateral (select (number %% 29 = 7)::int as is_bad) day
on conflict do nothing"""


def open_one(**values):
    """An incident that is published, and affects the agents' chat."""
    from models.platform.database import transaction
    from models.status import incident_changes

    given = {
        "title": "Answers are slow",
        "impact": "Some take a minute.",
        "services": {"chat": None},
        "text": "We look.",
    }
    with transaction():
        return incident_changes.open_incident("operator:jo", **(given | values))[0]


def add(incident, **values):
    from models.platform.database import transaction
    from models.status import incident_changes

    with transaction():
        return incident_changes.add_update("operator:jo", incident.id, **values)


def ended(days_ago, *, hours=2, **values):
    """An incident that began so many days ago, and was resolved."""
    from models.status.incidents import Incident

    began = now() - timedelta(days=days_ago)
    row = open_one(**({"title": f"Files were away {days_ago} days ago", "services": {"storage": None}} | values))
    add(row, state="resolved", text="Files are there again.")
    times = {"starts_at": began, "ended_at": began + timedelta(hours=hours)}
    Incident.update(**times).where(Incident.id == row.id).execute()
    return Incident.get_by_id(row.id)


def eventful():
    """Services with 90 days, an open incident, maintenance to come, and incidents that are over. Returns the open one."""
    from models.platform.database import database

    for service, days in (("api", 90), ("chat", 90), ("models", 40), ("streams", 90), ("storage", 90)):
        database.execute_sql(DAYS, {"service": service, "days": days})
    ended(5)
    ended(100)
    open_one(
        kind="maintenance",
        title="Database upgrade",
        impact="Sign-in is not possible for five minutes.",
        services={"api": None},
        text="We upgrade the database.",
        starts_at=now() + timedelta(days=2),
        until=now() + timedelta(days=2, hours=1),
    )
    row = open_one(title=f"Answers are slow {HOSTILE}", text=f"We look. {HOSTILE}\n\nMore soon.")
    add(
        row,
        state="identified",
        text="The provider of our models has an outage.",
        services={"chat": None, "models": "incident"},
    )
    return row
