"""What our figures stand beside: services and workers of the same kind, written the way their field usually does it."""
