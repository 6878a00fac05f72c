"""The tag `billing`: plans, subscriptions, usage, events."""
