"""What agents can look up: vector stores, the files in them, and the search."""
