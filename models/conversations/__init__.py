"""Conversations: questions, answers, and the events behind the answers."""
