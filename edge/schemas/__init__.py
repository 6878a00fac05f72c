"""Schemas of requests and answers, one file per tag. They validate requests and make up /openapi.json."""
