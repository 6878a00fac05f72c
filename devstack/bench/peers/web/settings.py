# mypy: ignore-errors
"""Settings from the environment: the same variables as the product's."""

import json
import os

DATABASE_URL = os.environ["DATABASE_URL"]
REDIS_URL = os.environ["REDIS_URL"]
KEY_FILE = os.environ["AUTH_KEY_STORAGE_PATH"]
MODEL = os.environ.get("AGENT_MODEL_DEFAULT", "gpt-5.1")
ISSUER = os.environ.get("APP_NAME", "longshore")
AUDIENCE = os.environ.get(
    "AUTH_AUDIENCE", "agent-api,analytics-service,billing-worker,support-console,synthetic-monitor"
).split(",")
VERSION = os.environ.get("APP_VERSION", "0.1.0")
POOL_SIZE = int(os.environ.get("DATABASE_POOL_SIZE", "20"))
HISTORY_MESSAGES = int(os.environ.get("AGENT_HISTORY_MESSAGES", "200"))
DECLARED_AGENTS = json.loads(os.environ.get("PEER_AGENTS", "[]"))
