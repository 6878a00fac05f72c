"""Reading objects in workers."""

import hashlib
import tempfile
from typing import IO

from models.storage.objects import StorageObject
from workers.gateways import storage


class BlobDamaged(Exception):
    """The storage holds other bytes than those that were verified."""


def fetch(obj: StorageObject) -> IO[bytes]:
    """A ready object's bytes, those that were verified, as an open file at its beginning, which the caller closes.

    It has no name, so nothing of it stays on the disk, also if we are killed. BlobMissing, BlobDamaged, StorageUnavailable.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115  (it outlives this call)
    try:
        _write(obj, file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _write(obj: StorageObject, file: IO[bytes]) -> None:
    digest, size = hashlib.sha256(), 0
    with storage.get(obj.bucket, obj.object_key) as stream:
        for chunk in stream:
            size += len(chunk)
            if size > obj.size_bytes:
                break
            digest.update(chunk)
            file.write(chunk)
    if size != obj.size_bytes or digest.hexdigest() != obj.sha256:
        raise BlobDamaged(f"object {obj.id}")
