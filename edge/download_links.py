"""Links that download stored objects."""

from models.platform.settings import settings
from models.storage.objects import StorageObject
from workers.gateways import storage


def download_link(obj: StorageObject) -> str:
    """A URL for a ready object, good for STORAGE_SIGNED_URL_TTL_SECONDS. Nothing is asked of anybody: it is computed.

    Whoever gets it can download the object, so ask first who may see it. StorageUnavailable if there is no storage.
    """
    return storage.presigned_get(
        obj.bucket,
        obj.object_key,
        filename=obj.filename,
        mime_type=obj.mime_type,
        seconds=settings.storage_signed_url_ttl_seconds,
    )
