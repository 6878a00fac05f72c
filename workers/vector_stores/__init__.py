"""The work of vector stores: reading files, cutting them into chunks, and making them searchable."""
