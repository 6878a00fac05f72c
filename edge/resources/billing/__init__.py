"""The tag `billing`: plans, subscriptions, usage, events. Mounted with ENABLE_BILLING only."""
