"""Reading objects in workers."""

import hashlib
from pathlib import Path

from models.storage.names import safe_name, shown_name
from models.storage.objects import StorageObject
from workers.gateways import storage


class BlobDamaged(Exception):
    """The storage holds other bytes than those that were verified."""


def download(obj: StorageObject, folder: Path) -> Path:
    """Write a ready object's bytes to a new file in this folder, named after it. The bytes are those that were verified.

    BlobMissing, BlobDamaged, StorageUnavailable. What was written of a file that fails is removed.
    """
    path = folder / f"{obj.id.hex}-{safe_name(shown_name(obj.filename))}"
    try:
        _write(obj, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _write(obj: StorageObject, path: Path) -> None:
    digest, size = hashlib.sha256(), 0
    with storage.get(obj.bucket, obj.object_key) as stream, path.open("wb") as file:
        for chunk in stream:
            size += len(chunk)
            if size > obj.size_bytes:
                break
            digest.update(chunk)
            file.write(chunk)
    if size != obj.size_bytes or digest.hexdigest() != obj.sha256:
        raise BlobDamaged(f"object {obj.id}")
