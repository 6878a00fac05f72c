"""Everything the product needs, on one machine: Postgres, Valkey, S3, a mail sink, stand-ins for a model and Stripe, and the CLI ./dev."""
