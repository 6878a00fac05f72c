"""What Longshore is compared with: a service and workers that do the same work, written the usual way."""
