"""Root, probes and the public keys."""

import logging
import time
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import cache

import falcon
import urllib3
from minio import Minio

from edge import metrics
from edge.auth import public
from edge.openapi import describes
from edge.schemas.common import HealthResponse
from models.auth.key_file import keyset
from models.jobs import presence
from models.platform.clock import iso, now
from models.platform.database import database
from models.platform.errors import Unavailable
from models.platform.redis import fast_redis_client
from models.platform.settings import settings

log = logging.getLogger(__name__)
BEGAN = time.monotonic()


class NotReady(Unavailable):
    code = "not_ready"


def report(status: str) -> dict:
    return {
        "status": status,
        "timestamp": iso(now()),
        "version": settings.app_version,
        "uptime": round(time.monotonic() - BEGAN, 2),
    }


class Root:
    @describes("Root", "default", answers={200: {}})
    @public
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {
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
    """`on_get`: the process answers. `ready`: so do Postgres, Redis and a worker. `storage`: for information."""

    @describes("Health Check", "health", answers={200: HealthResponse})
    @public
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = report("healthy")

    @describes("Readiness Check", "health", answers={200: HealthResponse, 503: HealthResponse})
    @public
    def on_get_ready(self, req: falcon.Request, resp: falcon.Response) -> None:
        checks = {"database": check_database, "redis": check_redis, "worker": check_worker}
        failed = [name for name, check in checks.items() if not _passes(name, check)]
        if failed:
            raise NotReady(f"Not ready: {', '.join(failed)}.", details={"failed": failed})
        resp.media = report("ready")

    @describes("Storage Health", "health", answers={200: HealthResponse})
    @public
    def on_get_storage(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = report(storage_status())


def _passes(name: str, check) -> bool:
    try:
        return bool(check())
    except Exception as error:  # whatever a driver raises, the probe's answer is "not ready"
        log.warning("health.check_failed", extra={"check": name, "reason": repr(error)})
        return False


def check_database() -> bool:
    database.connect(reuse_if_open=True, patience=settings.database_health_timeout)
    return database.execute_sql("select 1").fetchone() == (1,)


def check_redis() -> bool:
    return fast_redis_client().ping()


def check_worker() -> bool:
    return presence.workers_alive() > 0


@cache
def _storage() -> Minio | None:
    if settings.storage_provider != "minio" or not settings.minio_endpoint:
        return None
    secret = settings.minio_secret_key.get_secret_value() if settings.minio_secret_key else None
    http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=1, read=3), retries=False, maxsize=4)
    return Minio(
        settings.minio_endpoint,
        settings.minio_access_key,
        secret,
        region=settings.minio_region,
        secure=settings.minio_secure,
        http_client=http,
    )


def storage_status() -> str:
    """healthy, degraded (slow), unavailable or unconfigured."""
    try:
        client = _storage()
    except ValueError as error:
        log.warning("health.storage_misconfigured", extra={"reason": str(error)})
        return "unconfigured"
    if client is None:
        return "unconfigured"
    began = time.monotonic()
    if not _passes("storage", lambda: client.list_buckets() is not None):
        return "unavailable"
    return "degraded" if time.monotonic() - began > 1 else "healthy"


class Jwks:
    """The keys that verify our tokens."""

    @describes("JSON Web Key Set", "auth", answers={200: {}})
    @public
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        keys = keyset()
        etag = keys.etag
        metrics.JWKS.inc()
        resp.set_header("Cache-Control", f"public, max-age={settings.auth_jwks_max_age_seconds}")
        resp.set_header("ETag", f'"{etag}"')
        resp.set_header("Last-Modified", format_datetime(keys.last_modified, usegmt=True))
        if self._known(req, etag, keys.last_modified):
            metrics.JWKS_SAME.inc()
            resp.status = falcon.HTTP_304
        else:
            resp.media = keys.jwks()

    @staticmethod
    def _known(req: falcon.Request, etag: str, last_modified: datetime) -> bool:
        if req.get_header("If-None-Match"):
            return any(tag == "*" or tag == etag for tag in req.if_none_match or ())
        since = req.get_header("If-Modified-Since")
        try:
            return bool(since) and parsedate_to_datetime(since) >= last_modified.replace(microsecond=0)
        except (TypeError, ValueError):
            return False
