"""All time: the cron table and the one process that reads it."""
