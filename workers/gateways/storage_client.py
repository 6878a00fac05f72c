"""The `minio` client and the signer of URLs, as the settings say; and what its errors mean, counted and timed."""

import contextlib
import logging
import time
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

from models.platform.errors import NotFound, Unavailable
from models.platform.settings import settings
from workers.gateways.presigning import Signer

if TYPE_CHECKING:
    from minio import Minio

log = logging.getLogger(__name__)
PROVIDER, DEFAULT_REGION = "minio", "us-east-1"
CONNECT_SECONDS, PROBE_SECONDS, READ_SECONDS = 1, 3, 60  # a copy of a large object is answered when it is done
CONNECTIONS = 16
GONE = ("NoSuchKey", "NoSuchBucket", "NoSuchUpload")
OPERATIONS = ("probe", "bucket", "stat", "copy", "get", "put", "remove", "list", "parts")

CALLS = Counter("storage_operations_total", "Operations of the object storage.", ["operation", "provider", "result"])
SECONDS = Histogram(
    "storage_operation_duration_seconds",
    "Time of such an operation; of `get` until its last byte was read.",
    ["operation", "provider"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
for _operation in OPERATIONS:
    SECONDS.labels(_operation, PROVIDER)
    for _result in ("success", "missing", "changed", "unavailable", "failed"):
        CALLS.labels(_operation, PROVIDER, _result)
SIGNED = CALLS.labels("presign", PROVIDER, "success")


class StorageUnavailable(Unavailable):
    """The storage does not answer, or not as it should. Trying again may help."""

    code, message = "storage_unavailable", "The object storage cannot be reached. Retry shortly."


class StorageUnconfigured(StorageUnavailable):
    message = "This installation has no object storage."


class BlobMissing(NotFound):
    code, message = "blob_missing", "The bytes of this object are not in the storage."


class BlobChanged(Exception):
    """The bytes are not those any more that were looked at."""


def client(read_seconds: float = PROBE_SECONDS) -> "Minio | None":
    """The client; None if no storage is configured. ValueError for an invalid endpoint."""
    return _client(read_seconds)


@cache
def _client(read_seconds: float) -> "Minio | None":
    if settings.storage_provider != PROVIDER or not settings.minio_endpoint:
        return None
    import urllib3
    from minio import Minio

    secret = settings.minio_secret_key.get_secret_value() if settings.minio_secret_key else None
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds)
    return Minio(
        settings.minio_endpoint,
        settings.minio_access_key,
        secret,
        region=settings.minio_region or DEFAULT_REGION,  # given, so that the client never asks for it
        secure=settings.minio_secure,
        http_client=urllib3.PoolManager(timeout=timeout, retries=False, maxsize=CONNECTIONS),
    )


@cache
def signer() -> Signer:
    """Signs URLs of the address that clients reach. StorageUnconfigured; ValueError for an invalid address."""
    if settings.storage_provider != PROVIDER or not settings.minio_endpoint:
        raise StorageUnconfigured()
    if not settings.minio_access_key or not settings.minio_secret_key:
        raise StorageUnconfigured()
    inside = f"{'https' if settings.minio_secure else 'http'}://{settings.minio_endpoint}"
    return Signer(
        settings.minio_public_endpoint or inside,
        settings.minio_access_key,
        settings.minio_secret_key.get_secret_value(),
        settings.minio_region or DEFAULT_REGION,
    )


def forget_settings() -> None:
    """Read the settings again at the next use."""
    _client.cache_clear()
    signer.cache_clear()


def connected() -> "Minio":
    """The client for work that may take its time. StorageUnconfigured."""
    try:
        found = client(READ_SECONDS)
    except ValueError as error:
        log.warning("storage.misconfigured", extra={"reason": str(error)})
        raise StorageUnconfigured() from None
    if found is None:
        raise StorageUnconfigured()
    return found


def signed() -> None:
    """Count a signed URL: some are signed by the hundred, so without a time, and without loading the client's library."""
    SIGNED.inc()


@contextlib.contextmanager
def operation(name: str) -> Iterator[None]:
    """Count and time an operation, and raise what its errors mean: BlobMissing, BlobChanged or StorageUnavailable."""
    from minio.error import MinioException, S3Error
    from urllib3.exceptions import HTTPError

    started, result = time.monotonic(), "failed"
    try:
        yield
        result = "success"
    except S3Error as error:
        result = "unavailable"
        if error.code in GONE:
            result = "missing"
            raise BlobMissing() from None
        if error.code == "PreconditionFailed":
            result = "changed"
            raise BlobChanged() from None
        log.warning(
            "storage.refused", extra={"operation": name, "code": error.code, "reason": str(error.message)[:200]}
        )
        raise StorageUnavailable() from None
    except (MinioException, HTTPError) as error:
        result = "unavailable"
        log.warning("storage.unavailable", extra={"operation": name, "reason": type(error).__name__})
        raise StorageUnavailable() from None
    finally:
        CALLS.labels(name, PROVIDER, result).inc()
        SECONDS.labels(name, PROVIDER).observe(time.monotonic() - started)
