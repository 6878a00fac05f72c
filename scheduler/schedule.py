"""The cron table: which job is enqueued when. Times are UTC."""

from workers.jobs import EVENT_PURGE, JOB_PURGE, SESSION_PURGE, JobKind

# fmt: off
#           minute hour day month weekday
CRON: list[tuple[str, JobKind]] = [
    ("17 3 * * *", JOB_PURGE),      # jobs that finished longer ago than JOB_RETENTION_DAYS
    ("27 3 * * *", EVENT_PURGE),    # events of runs and of billing, older than is set
    ("37 3 * * *", SESSION_PURGE),  # refresh tokens and sessions that ended long ago
]
# fmt: on
