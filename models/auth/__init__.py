"""Accounts: users, tenants, passwords, sessions, tokens, and who may sign up."""
