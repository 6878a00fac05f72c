"""An installation that may run in production, and processes that are started with it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Every value is safe. Tests change one of them.
SAFE = {
    "ENVIRONMENT": "production",
    "DEBUG": "false",
    "SERVICE_ISSUE_DEV_LOCAL": "false",
    "SECRET_KEY": "83e1b7c94a50f26d8e3b19a7c05d4f62",
    "SECRET_KEY_PREVIOUS": "17f0a9d3b6c852e4907d1c3fb8a4e265",
    "METRICS_TOKEN": "c0d95e7b1af34628b3e87d504c1f962a",
    "ALLOWED_HOSTS": "api.example.com",
    "ALLOWED_ORIGINS": "https://app.example.com",
    "TRUSTED_PROXIES": "10.0.0.0/24",
    "APP_PUBLIC_URL": "https://app.example.com",
    "MAIL_FROM": "Example <no-reply@example.com>",
    "DATABASE_URL": "postgresql://app:Kq7vN2xW9rTz@db.example.com/app?sslmode=verify-full",
    "REDIS_URL": "rediss://:Kq7vN2xW9rTz@redis.example.com/0",
    "BROKER_URL": "rediss://:Kq7vN2xW9rTz@redis.example.com/1",
    "SMTP_URL": "smtps://user:mail-word@mail.example.com",
    "MINIO_ENDPOINT": "s3.example.com",
    "MINIO_SECURE": "true",
    "MINIO_SECRET_KEY": "storage-word",
    "OPENAI_API_KEY": "sk-provider-word",
    "OPENAI_BASE_URL": "",
    "MCP_TOOLS": '[{"name": "wiki", "server_label": "w", "server_url": "https://wiki.example.com", "authorization": "mcp-word"}]',
    "VAULT_ADDR": "https://vault.example.com",
    "VAULT_TOKEN": "vault-word",
    "SERVICE_ISSUE_VERIFIER": "hmac",
    "SERVICE_ISSUE_SECRET": "6a04d8f5e2b7913c5fd0482ba9c6e137",
}
# What each process does before it works.
STARTS = {
    "edge": "from edge.app import create_app; create_app()",
    "worker": "import workers.main",
    "scheduler": "import runpy; runpy.run_module('scheduler.main', run_name='__main__')",
    "release": "from models.commands import main; main(['migrate', 'up'])",
}


def settings_with(**changed):
    """Settings that are safe in production, except for what is changed. "" stands for the default."""
    from models.platform.settings import Settings

    values = {**SAFE, **{name.upper(): value for name, value in changed.items()}}
    fields = Settings.model_fields
    return Settings(**{key: value or fields[key].default for name, value in values.items() if (key := name.lower())})


def environment(**values):
    """The environment of a process: nothing of ours but `values`. Some are needed to run Python at all."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **{name.upper(): value for name, value in values.items()}}


def python(*arguments, **values):
    """A finished `python <arguments>` whose environment holds `values` and nothing else of ours."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(**values),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
