"""What workers do for billing."""
