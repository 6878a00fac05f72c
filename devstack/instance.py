"""A running instance, as the file `ready.json` in its state folder describes it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from devstack.stack import EMAIL, PASSWORD, ROOT, Stack, secret_key

DEFAULT_STATE = ROOT / "var"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Addresses and demo account of a running instance. An address is None if it is set nowhere.

    pid, started   of the process `./dev up`; `started` is its creation time, since a pid alone may have been reused
    """

    url: str
    email: str
    password: str
    tenant_id: str
    database_url: str | None
    redis_url: str | None
    broker_url: str | None
    minio_endpoint: str | None
    minio_access_key: str | None = None
    minio_secret_key: str | None = None
    minio_secure: str | None = None
    smtp_url: str | None
    openai_base_url: str | None
    openai_api_key: str | None = None
    app_public_url: str | None = None
    allowed_origins: str | None = None
    stripe_api_base: str | None
    stripe_secret_key: str | None = None
    enable_billing: str | None = None
    resend_email_enabled: str | None = None
    resend_api_key: str | None = None
    resend_base_url: str | None = None
    pid: int
    started: float

    @property
    def is_running(self) -> bool:
        try:
            return bool(psutil.Process(self.pid).create_time() == self.started)
        except psutil.NoSuchProcess:
            return False


def ready_file(state: Path) -> Path:
    """The file that exists while the instance in this state folder is ready."""
    return state / "ready.json"


def write(stack: Stack, tenant_id: str) -> Instance:
    """Write the ready file of a stack that this process has started. Readers never see half of it."""
    env = stack.env
    instance = Instance(
        url=f"http://127.0.0.1:{stack.port}",
        email=EMAIL,
        password=PASSWORD,
        tenant_id=tenant_id,
        database_url=env.get("DATABASE_URL"),
        redis_url=env.get("REDIS_URL"),
        broker_url=env.get("BROKER_URL"),
        minio_endpoint=env.get("MINIO_ENDPOINT"),
        minio_access_key=env.get("MINIO_ACCESS_KEY"),
        minio_secret_key=env.get("MINIO_SECRET_KEY"),
        minio_secure=env.get("MINIO_SECURE"),
        smtp_url=env.get("SMTP_URL"),
        openai_base_url=env.get("OPENAI_BASE_URL"),
        openai_api_key=env.get("OPENAI_API_KEY"),
        app_public_url=env.get("APP_PUBLIC_URL"),
        allowed_origins=env.get("ALLOWED_ORIGINS"),
        stripe_api_base=env.get("STRIPE_API_BASE"),
        stripe_secret_key=env.get("STRIPE_SECRET_KEY"),
        enable_billing=env.get("ENABLE_BILLING"),
        resend_email_enabled=env.get("RESEND_EMAIL_ENABLED"),
        resend_api_key=env.get("RESEND_API_KEY"),
        resend_base_url=env.get("RESEND_BASE_URL"),
        pid=os.getpid(),
        started=psutil.Process().create_time(),
    )
    draft = stack.state / ".ready.json"
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(asdict(instance), indent=2))
    draft.rename(ready_file(stack.state))
    return instance


def read(state: Path) -> Instance | None:
    """The running instance in this state folder, or None."""
    try:
        instance = Instance(**json.loads(ready_file(state).read_text()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):  # TypeError: written by another version
        return None
    return instance if instance.is_running else None


def require(state: Path) -> Instance:
    """The running instance in this state folder. SystemExit if there is none."""
    instance = read(state)
    if instance is None:
        option = "" if state == DEFAULT_STATE else f" --state {state}"
        raise SystemExit(f"No instance is running in {state}. Start one with `./dev up{option}`.")
    return instance


def use_database(state: Path) -> None:
    """Use the database, Redis, storage, providers and secret of the running instance, unless DATABASE_URL is set already.

    Call it before anything imports `models.platform.settings`. SystemExit if no instance is running.
    """
    if os.environ.get("DATABASE_URL"):
        return
    instance = require(state)
    values = {
        "DATABASE_URL": instance.database_url,
        "REDIS_URL": instance.redis_url,
        "BROKER_URL": instance.broker_url,
        "SECRET_KEY": secret_key(state),
        "ENABLE_BILLING": instance.enable_billing,
        "STRIPE_API_BASE": instance.stripe_api_base,
        "STRIPE_SECRET_KEY": instance.stripe_secret_key,
        "SMTP_URL": instance.smtp_url,
        "RESEND_EMAIL_ENABLED": instance.resend_email_enabled,
        "RESEND_API_KEY": instance.resend_api_key,
        "RESEND_BASE_URL": instance.resend_base_url,
        "MINIO_ENDPOINT": instance.minio_endpoint,
        "MINIO_ACCESS_KEY": instance.minio_access_key,
        "MINIO_SECRET_KEY": instance.minio_secret_key,
        "MINIO_SECURE": instance.minio_secure,
        "OPENAI_BASE_URL": instance.openai_base_url,
        "OPENAI_API_KEY": instance.openai_api_key,
        "APP_PUBLIC_URL": instance.app_public_url,
        "ALLOWED_ORIGINS": instance.allowed_origins,
    }
    for name, value in values.items():
        if value and not os.environ.get(name):
            os.environ[name] = value
