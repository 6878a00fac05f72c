"""THE OTHER TABLE: cron -> job. Times are UTC."""

from workers.jobs import EVENT_PURGE, JOB_PURGE, SESSION_PURGE, Job

# fmt: off
#           minute hour day month weekday
CRON: list[tuple[str, Job]] = [
    ("17 3 * * *", JOB_PURGE),      # finished jobs past their retention
    ("27 3 * * *", EVENT_PURGE),    # run events past theirs
    ("37 3 * * *", SESSION_PURGE),  # refresh tokens and sessions that ended long ago
]
# fmt: on
