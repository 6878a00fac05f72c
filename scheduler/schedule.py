"""The cron table: which job is enqueued when. Times are UTC."""

from workers.jobs import (
    BILLING_RECONCILE,
    BILLING_TELL,
    CHUNKS_INDEX,
    CHUNKS_SWEEP,
    CONTAINER_SYNC,
    EVENT_PURGE,
    JOB_PURGE,
    SESSION_PURGE,
    STATUS_MAINTENANCE,
    STATUS_PROBE,
    STATUS_PURGE,
    STATUS_ROLL_UP,
    STATUS_TEND,
    STORAGE_RECONCILE,
    STORAGE_SWEEP,
    USAGE_FOLD,
    VECTOR_STORE_EXPIRE,
    VECTOR_STORE_RECONCILE,
    VECTOR_STORE_SYNC,
    JobKind,
)

# fmt: off
#           minute hour day month weekday
CRON: list[tuple[str, JobKind]] = [
    ("* * * * *",  USAGE_FOLD),     # what was counted is summed up and forwarded
    ("* * * * *",  BILLING_TELL),   # notices of billing that nobody was told yet
    ("* * * * *",  VECTOR_STORE_EXPIRE),  # vector stores whose time is over
    ("* * * * *",  VECTOR_STORE_SYNC),  # stores at the provider that are due, each by one worker
    ("* * * * *",  STATUS_PROBE),   # how the services are
    ("7 * * * *",  STATUS_ROLL_UP), # the history of the services, with what came late
    ("* * * * *",  STATUS_MAINTENANCE),  # maintenance whose time has come starts, or ends
    ("* * * * *",  STATUS_TEND),    # status alerts that are due although nobody sends them
    ("57 3 * * *", VECTOR_STORE_RECONCILE),  # what we made at the provider and nobody knows any more
    ("*/5 * * * *", CONTAINER_SYNC),  # containers that have expired at the provider
    ("*/10 * * * *", STORAGE_SWEEP),  # uploads that never came, and what is left of deleted objects
    ("* * * * *",  CHUNKS_INDEX),   # vector stores that have grown
    ("17 3 * * *", JOB_PURGE),      # jobs that finished longer ago than JOB_RETENTION_DAYS
    ("27 3 * * *", EVENT_PURGE),    # events of runs and of billing, older than is set
    ("37 3 * * *", SESSION_PURGE),  # refresh tokens and sessions that ended long ago
    ("42 3 * * *", STATUS_PURGE),   # subscriptions that nobody has confirmed, or that were revoked long ago
    ("47 3 * * *", CHUNKS_SWEEP),   # chunks of vector stores that nobody needs
    ("7 4 * * *",  BILLING_RECONCILE),  # our subscriptions and usage against Stripe's
    ("37 4 * * *", STORAGE_RECONCILE),  # our objects against what the storage has
]
# fmt: on
