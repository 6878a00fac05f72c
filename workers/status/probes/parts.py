"""Probes of what the platform is built on: each does what a request or a job would do."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from models.jobs import presence
from models.jobs.recovery import oldest_due
from models.platform.clock import now
from models.platform.database import database, release, transaction
from models.platform.redis import fast_redis_client
from workers.gateways import storage as storage_gateway
from workers.status.probes.finding import Failed, Finding, NotConfigured

KEY, KEY_SECONDS = "status:probe", 120


def postgres(spec: Mapping[str, Any], seconds: float) -> Finding:
    """A connection is to be had, and takes what is written."""
    database.connect(reuse_if_open=True, timeout=seconds)
    try:
        with transaction():
            database.execute_sql("select set_config('statement_timeout', %s, true)", (str(int(seconds * 1000)),))
            row = database.execute_sql(
                "select pg_is_in_recovery(), current_setting('transaction_read_only')"
            ).fetchone()
    finally:
        release()
    if row != (False, "off"):
        raise Failed("Postgres takes nothing that is written.")
    return Finding()


def redis(spec: Mapping[str, Any], seconds: float) -> Finding:
    """It takes what is written: when its memory is full it answers, but takes nothing."""
    client = fast_redis_client()
    client.set(KEY, "", ex=KEY_SECONDS)
    return Finding()


def queue(spec: Mapping[str, Any], seconds: float) -> Finding:
    """Somebody works on the queue, and the oldest due job does not wait for long."""
    name, longest = str(spec["queue"]), timedelta(seconds=spec["max_age_seconds"])
    try:
        oldest = oldest_due(name)
    finally:
        release()
    age = now() - oldest if oldest else timedelta(0)
    if age > longest:
        raise Failed(f"The oldest job of the queue {name} has waited for {age.total_seconds():.0f} s.")
    if not presence.workers_alive(name):
        raise Failed(f"No worker serves the queue {name}.")
    return Finding()


def storage(spec: Mapping[str, Any], seconds: float) -> Finding:
    """What `/health/storage` says."""
    match storage_gateway.status():
        case "healthy":
            return Finding()
        case "degraded":
            return Finding(is_slow=True, reason="The storage answers slowly.")
        case "unconfigured":
            raise NotConfigured
    raise Failed("The storage cannot be reached.")
