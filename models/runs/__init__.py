"""Runs: work that a client watches, and the stream of its events."""
