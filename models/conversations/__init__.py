"""Conversations: what was asked and answered, and the events behind the answers."""
