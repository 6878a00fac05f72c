"""Results of probes, and services to probe."""

from datetime import timedelta

from models.platform.clock import now


def found(service, *results, until=None, reason=None):
    """Results of a service's probes, one of each minute, the last one at `until` (default: now)."""
    from models.platform.database import database

    end = (until or now()).replace(second=0, microsecond=0)
    for number, result in enumerate(reversed(results)):
        minute = end - timedelta(minutes=number)
        statement = "insert into status_check (service, minute, claimed_at, result, seconds, reason) values (%s, %s, %s, %s, 0.2, %s)"
        database.execute_sql(statement, (service, minute, minute, result, reason))
