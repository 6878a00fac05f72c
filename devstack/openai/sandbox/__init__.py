"""Runs Python code that a demo model has written, in a confined process. docs/containers.md says how far it may be trusted."""
