"""All state: the tables, the streams in Redis, the settings, and the verbs that change them."""
