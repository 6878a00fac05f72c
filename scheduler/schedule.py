"""The cron table: which job is enqueued when. Times are UTC."""

from workers.jobs import BILLING_TELL, EVENT_PURGE, JOB_PURGE, SESSION_PURGE, JobKind

# fmt: off
#           minute hour day month weekday
CRON: list[tuple[str, JobKind]] = [
    ("* * * * *",  BILLING_TELL),   # notices of billing that nobody was told yet
    ("17 3 * * *", JOB_PURGE),      # jobs that finished longer ago than JOB_RETENTION_DAYS
    ("27 3 * * *", EVENT_PURGE),    # run events older than RUN_EVENTS_TTL_DAYS
    ("37 3 * * *", SESSION_PURGE),  # refresh tokens and sessions that ended long ago
]
# fmt: on
