"""A running instance as its state folder describes it (`ready.json`)."""

import json
import os
from pathlib import Path
from typing import Any

import psutil

from devstack.stack import EMAIL, PASSWORD, ROOT, Stack

DEFAULT = ROOT / "var"


def ready_file(state: Path) -> Path:
    return state / "ready.json"


def write(stack: Stack, tenant_id: str) -> dict[str, Any]:
    """Say that the instance is ready, all at once: whoever sees the file sees it whole."""
    env = stack.env
    facts = {
        "url": f"http://127.0.0.1:{stack.port}",
        "email": EMAIL,
        "password": PASSWORD,
        "tenant_id": tenant_id,
        "database_url": env.get("DATABASE_URL"),
        "redis_url": env.get("REDIS_URL"),
        "broker_url": env.get("BROKER_URL"),
        "minio_endpoint": env.get("MINIO_ENDPOINT"),
        "smtp_url": env.get("SMTP_URL"),
        "openai_base_url": env.get("OPENAI_BASE_URL"),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),  # a pid alone may be somebody else's by now
    }
    draft = stack.state / ".ready.json"
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(facts, indent=2))
    draft.rename(ready_file(stack.state))
    return facts


def read(state: Path) -> dict[str, Any] | None:
    """The facts of the instance in this folder; None when it is not up."""
    try:
        facts = json.loads(ready_file(state).read_text())
    except (FileNotFoundError, ValueError):
        return None
    try:
        return facts if psutil.Process(facts["pid"]).create_time() == facts.get("started") else None
    except psutil.NoSuchProcess:
        return None


def need(state: Path) -> dict[str, Any]:
    facts = read(state)
    if facts is None:
        option = "" if state == DEFAULT else f" --state {state}"
        raise SystemExit(f"Nothing is up in {state}. Start it with `./dev up{option}`.")
    return facts
