"""All HTTP: it authenticates, validates, enqueues and relays, and does no work."""
