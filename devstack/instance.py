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
    smtp_url: str | None
    openai_base_url: str | None
    stripe_api_base: str | None
    stripe_secret_key: str | None = None
    enable_billing: str | None = None
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
        smtp_url=env.get("SMTP_URL"),
        openai_base_url=env.get("OPENAI_BASE_URL"),
        stripe_api_base=env.get("STRIPE_API_BASE"),
        stripe_secret_key=env.get("STRIPE_SECRET_KEY"),
        enable_billing=env.get("ENABLE_BILLING"),
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
    """Use the database, Redis, Stripe and secret of the running instance, unless DATABASE_URL is set already.

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
    }
    for name, value in values.items():
        if value and not os.environ.get(name):
            os.environ[name] = value
