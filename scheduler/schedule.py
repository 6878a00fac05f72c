"""The cron table: which job is enqueued when. Times are UTC."""

from workers.jobs import (
    BILLING_RECONCILE,
    BILLING_TELL,
    CHUNKS_INDEX,
    CHUNKS_SWEEP,
    EVENT_PURGE,
    JOB_PURGE,
    SESSION_PURGE,
    USAGE_FOLD,
    JobKind,
)

# fmt: off
#           minute hour day month weekday
CRON: list[tuple[str, JobKind]] = [
    ("* * * * *",  USAGE_FOLD),     # what was counted is summed up and forwarded
    ("* * * * *",  BILLING_TELL),   # notices of billing that nobody was told yet
    ("* * * * *",  CHUNKS_INDEX),   # vector stores that have grown
    ("17 3 * * *", JOB_PURGE),      # jobs that finished longer ago than JOB_RETENTION_DAYS
    ("27 3 * * *", EVENT_PURGE),    # events of runs and of billing, older than is set
    ("37 3 * * *", SESSION_PURGE),  # refresh tokens and sessions that ended long ago
    ("47 3 * * *", CHUNKS_SWEEP),   # chunks of vector stores that nobody needs
    ("7 4 * * *",  BILLING_RECONCILE),  # our subscriptions and usage against Stripe's
]
# fmt: on
