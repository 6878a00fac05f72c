"""Workflows: their declarations (catalog), what comes next in a run (plan), and the actors that do its steps."""
