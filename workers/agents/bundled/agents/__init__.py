"""One agent per file, named as its file."""
