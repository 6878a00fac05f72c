"""The work on stored objects: writing and reading them, verifying what people upload, and removing what is deleted."""
