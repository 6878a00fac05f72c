"""The status of the platform: services, incidents, and who is told of them."""
