"""The job ledger: what is to be done, and who is doing it."""
