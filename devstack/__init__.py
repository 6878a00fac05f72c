"""A whole data centre for one laptop: real Postgres, Valkey and S3, a mail sink, a stand-in for the model, and a CLI."""
