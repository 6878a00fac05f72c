"""Runs: jobs that a client watches, and the stream of their events."""
