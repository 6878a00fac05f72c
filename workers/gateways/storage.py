"""S3-compatible object storage, through the `minio` client."""

import logging
import time
from functools import cache
from typing import TYPE_CHECKING

from models.platform.settings import settings

if TYPE_CHECKING:
    from minio import Minio

log = logging.getLogger(__name__)
CONNECT_SECONDS, READ_SECONDS = 1, 3
SLOW_SECONDS = 1.0  # a slower answer counts as degraded


@cache
def client() -> "Minio | None":
    """The client; None if no storage is configured. ValueError for an invalid endpoint."""
    if settings.storage_provider != "minio" or not settings.minio_endpoint:
        return None
    import urllib3
    from minio import Minio

    secret = settings.minio_secret_key.get_secret_value() if settings.minio_secret_key else None
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    return Minio(
        settings.minio_endpoint,
        settings.minio_access_key,
        secret,
        region=settings.minio_region,
        secure=settings.minio_secure,
        http_client=urllib3.PoolManager(timeout=timeout, retries=False, maxsize=4),
    )


def status() -> str:
    """`healthy`, `degraded` (slow), `unavailable` or `unconfigured`."""
    try:
        storage = client()
    except ValueError as error:
        log.warning("storage.misconfigured", extra={"reason": str(error)})
        return "unconfigured"
    if storage is None:
        return "unconfigured"
    started = time.monotonic()
    try:
        storage.list_buckets()
    except Exception as error:  # noqa: BLE001  (whatever the driver raises, the storage cannot be used)
        log.warning("storage.unavailable", extra={"reason": repr(error)})
        return "unavailable"
    return "degraded" if time.monotonic() - started > SLOW_SECONDS else "healthy"
