"""S3-compatible object storage, through the `minio` client. All failures are StorageUnavailable, BlobMissing or BlobChanged."""

import contextlib
import io
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement, tostring

from models.platform.settings import settings
from models.storage.names import attachment
from workers.gateways.storage_client import (
    PROVIDER,
    BlobChanged,
    BlobMissing,
    StorageUnavailable,
    StorageUnconfigured,
    client,
    connected,
    forget_settings,
    operation,
    signed,
    signer,
)

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

__all__ = ["PROVIDER", "BlobChanged", "BlobMissing", "StorageUnavailable", "StorageUnconfigured", "client", "forget"]
log = logging.getLogger(__name__)
SLOW_SECONDS = 1.0  # a slower answer counts as degraded
REMEMBERED_SECONDS = 5  # anybody may ask for the status
CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Blob:
    """What the storage says of an object. `size` in bytes. `etag` changes with its content."""

    key: str
    size: int
    etag: str
    modified_at: datetime


class BlobStream:
    """The bytes of an object, as they come. `size`: how many there are."""

    def __init__(self, response: "BaseHTTPResponse") -> None:
        self._response = response
        self.size = int(response.headers.get("Content-Length", 0))

    def read(self, amount: int = -1) -> bytes:
        """At most `amount` bytes, all that is left by default; none at the end."""
        return self._response.read(None if amount < 0 else amount)

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(CHUNK):
            yield chunk


# ---------------------------------------------------------------- signed URLs: no network


def presigned_get(bucket: str, key: str, *, filename: str, mime_type: str, seconds: int) -> str:
    """A URL that downloads an object for so many seconds, as a file of this name and type; browsers never show it."""
    shown = {"response-content-disposition": attachment(filename), "response-content-type": mime_type}
    return _signed("GET", bucket, key, seconds=seconds, query=shown)


def presigned_put(bucket: str, key: str, *, size: int, mime_type: str | None, seconds: int, **query: str) -> str:
    """A URL that takes exactly `size` bytes and, unless it is None, this type as headers. `query`: more parameters."""
    headers = {"content-length": str(size)} | ({"content-type": mime_type} if mime_type else {})
    return _signed("PUT", bucket, key, seconds=seconds, headers=headers, query=query)


def _signed(method: str, bucket: str, key: str, **options: Any) -> str:
    try:
        url = signer().url(method, bucket, key, **options)
    except ValueError as error:
        log.warning("storage.misconfigured", extra={"reason": str(error)})
        raise StorageUnconfigured() from None
    signed()
    return url


# ---------------------------------------------------------------- objects


def stat(bucket: str, key: str) -> Blob:
    with operation("stat"):
        return _blob(connected().stat_object(bucket, key))


def _blob(found: Any) -> Blob:
    return Blob(found.object_name, found.size or 0, found.etag or "", found.last_modified)


def copy(bucket: str, source: str, target: str, *, etag: str) -> None:
    """Copy within the storage, if the source still has this etag. BlobChanged."""
    from minio.commonconfig import CopySource

    with operation("copy"):
        connected().copy_object(bucket, target, CopySource(bucket, source, match_etag=etag))


@contextlib.contextmanager
def get(bucket: str, key: str) -> Iterator[BlobStream]:
    """Read an object: `with get(...) as stream`. Errors while it is read are StorageUnavailable too."""
    with operation("get"):
        response = connected().get_object(bucket, key)
        try:
            yield BlobStream(response)
        finally:
            response.close()  # what is not read is not waited for
            response.release_conn()


def put(bucket: str, key: str, data: bytes, mime_type: str) -> None:
    with operation("put"):
        connected().put_object(bucket, key, io.BytesIO(data), len(data), mime_type)


def remove(bucket: str, key: str) -> None:
    """Remove an object, if it is there."""
    with operation("remove"), contextlib.suppress(BlobMissing):
        connected().remove_object(bucket, key)


def blobs(bucket: str, prefix: str = "") -> Iterator[Blob]:
    """All objects of a bucket, by key. BlobMissing if there is no such bucket."""
    with operation("list"):
        for found in connected().list_objects(bucket, prefix, recursive=True):
            yield _blob(found)


# ---------------------------------------------------------------- uploads in parts


# The client offers these calls with a leading underscore only. setup.cfg keeps to the version that has them.
def open_parts(bucket: str, key: str, mime_type: str) -> str:
    """Begin an upload in parts. Returns its id."""
    with operation("parts"):
        return connected()._create_multipart_upload(bucket, key, {"Content-Type": mime_type})  # noqa: SLF001


def presigned_part(bucket: str, key: str, upload_id: str, number: int, *, size: int, seconds: int) -> str:
    """A URL that takes a part. Parts count from 1."""
    numbered = {"uploadId": upload_id, "partNumber": str(number)}
    return presigned_put(bucket, key, size=size, mime_type=None, seconds=seconds, **numbered)


def close_parts(bucket: str, key: str, upload_id: str, *, size: int) -> None:
    """Make one object of the parts, which have so many bytes together. BlobMissing if not all have arrived, or the upload has
    ended."""
    with operation("parts"):
        parts: list[Any] = []
        marker, more = None, True
        while more:
            page = connected()._list_parts(bucket, key, upload_id, part_number_marker=marker)  # noqa: SLF001
            parts += page.parts
            more, marker = page.is_truncated, page.next_part_number_marker
        if sum(part.size or 0 for part in parts) != size:
            raise BlobMissing()
        connected()._complete_multipart_upload(bucket, key, upload_id, parts)  # noqa: SLF001


def drop_parts(bucket: str, key: str, upload_id: str) -> None:
    """Give up an upload in parts, if it has not ended."""
    with operation("parts"), contextlib.suppress(BlobMissing):
        connected()._abort_multipart_upload(bucket, key, upload_id)  # noqa: SLF001


def open_uploads(bucket: str) -> Iterator[tuple[str, str, datetime]]:
    """(key, upload id, beginning) of all uploads in parts that have not ended."""
    with operation("list"):
        key_marker = id_marker = None
        more = True
        while more:
            page = connected()._list_multipart_uploads(  # noqa: SLF001
                bucket, key_marker=key_marker, upload_id_marker=id_marker
            )
            for each in page.uploads:
                if each.upload_id and each.initiated_time:
                    yield each.object_name, each.upload_id, each.initiated_time
            more, key_marker, id_marker = page.is_truncated, page.next_key_marker, page.next_upload_id_marker


# ---------------------------------------------------------------- buckets


def make_bucket(bucket: str) -> None:
    """Make a bucket, if it is not there."""
    with operation("bucket"):
        if not connected().bucket_exists(bucket):
            with _made_meanwhile():
                connected().make_bucket(bucket)


@contextlib.contextmanager
def _made_meanwhile() -> Iterator[None]:
    from minio.error import S3Error

    try:
        yield
    except S3Error as error:
        if error.code != "BucketAlreadyOwnedByYou":  # anybody else's would be an error
            raise


def allow_origins(bucket: str) -> bool:
    """Let the pages of ALLOWED_ORIGINS, and no others, upload to a bucket and download from it; without it the storage's
    default holds. False if the storage does not know such rules for a bucket: then it has them for all, or lets every page in."""
    from minio.error import S3Error

    with operation("bucket"):
        try:
            if settings.items(settings.allowed_origins):
                connected()._execute("PUT", bucket, body=_cors_rules(), query_params={"cors": ""})  # noqa: SLF001
            else:
                connected()._execute("DELETE", bucket, query_params={"cors": ""})  # noqa: SLF001
        except S3Error as error:
            if error.code not in ("NotImplemented", "MethodNotAllowed"):
                raise
            return False
    return True


def _cors_rules() -> bytes:
    """A URL says who may do what; this says only from which pages."""
    rules = Element("CORSConfiguration")
    rule = SubElement(rules, "CORSRule")
    for origin in settings.items(settings.allowed_origins):
        SubElement(rule, "AllowedOrigin").text = origin
    for method in ("GET", "PUT"):
        SubElement(rule, "AllowedMethod").text = method
    SubElement(rule, "AllowedHeader").text = "*"
    SubElement(rule, "ExposeHeader").text = "ETag"
    SubElement(rule, "MaxAgeSeconds").text = "600"
    return tostring(rules)


def remove_bucket(bucket: str) -> None:
    """Remove an empty bucket, if it is there."""
    with operation("bucket"), contextlib.suppress(BlobMissing):
        connected().remove_bucket(bucket)


def buckets() -> Iterable[str]:
    """The names of all buckets that these credentials see."""
    with operation("list"):
        return [bucket.name for bucket in connected().list_buckets()]


# ---------------------------------------------------------------- health


@dataclass
class _Health:
    asked_at: float = float("-inf")
    status: str = "unknown"


_health = _Health()


def status() -> str:
    """`healthy`, `degraded` (slow), `unavailable` or `unconfigured`; asked of the storage every REMEMBERED_SECONDS."""
    if time.monotonic() - _health.asked_at > REMEMBERED_SECONDS:
        _health.asked_at = time.monotonic()  # others do not ask meanwhile
        _health.status = _ask()
    return _health.status


def _ask() -> str:
    started = time.monotonic()
    try:
        storage = client()
    except ValueError as error:
        log.warning("storage.misconfigured", extra={"reason": str(error)})
        return "unconfigured"
    if storage is None:
        return "unconfigured"
    try:
        with operation("probe"):
            storage.list_buckets()
    except StorageUnavailable:
        return "unavailable"
    return "degraded" if time.monotonic() - started > SLOW_SECONDS else "healthy"


def forget() -> None:
    """Read the settings again, and ask for the status again, at the next use."""
    forget_settings()
    _health.asked_at = float("-inf")
