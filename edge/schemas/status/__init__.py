"""The status page, and its alerts."""
