"""All state: the tables, the streams in Redis, the settings, and the functions that change them."""
