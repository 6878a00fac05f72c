"""What becomes of the names that people give files: parts of keys, and of headers."""

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote
from uuid import UUID

from models.platform.settings import settings

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
NO_NAME = "file"
LONGEST_SHOWN = 200  # bytes of UTF-8; file systems take 255, and a signed URL holds the name encoded twice
LONGEST_SUFFIX = 20


def bucket_of(tenant_id: UUID) -> str:
    """A tenant's bucket. STORAGE_BUCKET_PREFIX is checked so that this is a name that S3 takes."""
    return f"{settings.storage_bucket_prefix}-{tenant_id.hex}"


def object_key(tenant_id: UUID, object_id: UUID, filename: str) -> str:
    """Where an object's bytes are. No URL that a client has can write there."""
    return f"{tenant_id}/{object_id}/{safe_name(filename)}"


def upload_key(tenant_id: UUID, object_id: UUID) -> str:
    """Where clients put an object's bytes, which are copied from there when they are verified."""
    return f"uploads/{tenant_id}/{object_id}"


def safe_name(filename: str) -> str:
    """The name as a part of a key: letters, digits and `._-`."""
    name = UNSAFE.sub("-", filename).strip("-")
    return name if name.strip(".") else NO_NAME  # `..` would lead elsewhere


def shown_name(filename: str) -> str:
    """The name as a file may be called anywhere: no folders, nothing invisible, at most LONGEST_SHOWN bytes."""
    visible = "".join(char for char in filename if unicodedata.category(char)[0] != "C")
    name = re.sub(r'[/\\:*?"<>|]+', "-", visible).strip(" .-")
    if not name:
        return NO_NAME
    suffix = PurePosixPath(name).suffix
    suffix = suffix if len(suffix.encode()) <= LONGEST_SUFFIX else ""
    stem = name.removesuffix(suffix).encode()[: LONGEST_SHOWN - len(suffix.encode())].decode(errors="ignore")
    return stem + suffix


def attachment(filename: str) -> str:
    """A Content-Disposition that has browsers save a file, never show it (RFC 6266, with RFC 8187 for other alphabets)."""
    name = shown_name(filename)
    return f"attachment; filename=\"{safe_name(name)}\"; filename*=UTF-8''{quote(name, safe='')}"
