"""The root, the health probes and the public keys."""

import logging
import time
from collections.abc import Callable
from email.utils import format_datetime
from typing import Any

import falcon

from edge import metrics
from edge.endpoint import endpoint
from edge.rendered import is_unchanged
from edge.request import Request
from edge.schemas.common import HealthResponse
from models.auth.key_file import keyset
from models.jobs import presence
from models.platform.authorization import PUBLIC
from models.platform.clock import iso, now
from models.platform.database import database
from models.platform.errors import Unavailable
from models.platform.redis import fast_redis_client
from models.platform.settings import settings
from workers.gateways import storage

log = logging.getLogger(__name__)
STARTED = time.monotonic()


class NotReady(Unavailable):
    code = "not_ready"


def report(status: str) -> HealthResponse:
    uptime = round(time.monotonic() - STARTED, 2)
    return HealthResponse(status=status, timestamp=iso(now()), version=settings.app_version, uptime=uptime)


class Root:
    @endpoint("Root", "default", action=PUBLIC, schema={})
    def on_get(self, req: Request, resp: falcon.Response) -> dict[str, str]:
        return {
            "service": settings.app_name,
            "version": settings.app_version,
            "description": settings.app_description,
            "docs": "/docs",
            "openapi": "/openapi.json",
            "health": "/health",
            "api": "/api/v1",
            "chat": "/api/v1/chat",
            "agents": "/api/v1/agents",
        }


class Health:
    """`on_get`: this process answers. `ready`: Postgres, Redis and a worker do too. `storage`: for information only."""

    @endpoint("Health Check", "health", action=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> HealthResponse:
        return report("healthy")

    @endpoint("Readiness Check", "health", action=PUBLIC, also={503: HealthResponse})
    def on_get_ready(self, req: Request, resp: falcon.Response) -> HealthResponse:
        checks = {"database": check_database, "redis": check_redis, "worker": check_worker}
        failed = [name for name, check in checks.items() if not _passes(name, check)]
        if failed:
            raise NotReady(f"Not ready: {', '.join(failed)}.", details={"failed": failed})
        return report("ready")

    @endpoint("Storage Health", "health", action=PUBLIC)
    def on_get_storage(self, req: Request, resp: falcon.Response) -> HealthResponse:
        return report(storage.status())


def _passes(name: str, check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  (whatever a driver raises, the part is not ready)
        log.warning("health.check_failed", extra={"check": name, "reason": repr(error)})
        return False


def check_database() -> bool:
    database.connect(reuse_if_open=True, timeout=settings.database_health_timeout)
    return bool(database.execute_sql("select 1").fetchone() == (1,))


def check_redis() -> bool:
    return bool(fast_redis_client().ping())


def check_worker() -> bool:
    return presence.workers_alive() > 0


class Jwks:
    """The keys that verify our tokens."""

    @endpoint("JSON Web Key Set", "auth", action=PUBLIC, schema={})
    def on_get(self, req: Request, resp: falcon.Response) -> dict[str, Any] | None:
        keys = keyset()
        metrics.JWKS.inc()
        resp.set_header("Cache-Control", f"public, max-age={settings.auth_jwks_max_age_seconds}")
        resp.set_header("Last-Modified", format_datetime(keys.last_modified, usegmt=True))
        if not is_unchanged(req, resp, keys.etag, keys.last_modified):
            return keys.jwks()
        metrics.JWKS_SAME.inc()
        return None
