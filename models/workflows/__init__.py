"""Runs of workflows and their steps."""
