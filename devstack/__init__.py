"""Everything the product needs, on one machine: Postgres, Valkey, S3, a mail sink, a model stand-in, and the CLI ./dev."""
