"""The attachments of messages as clients get them: each with a link, which is signed whenever it is read."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from edge.download_links import download_link
from edge.schemas.common import MessageAttachment
from edge.stored_objects import settled
from models.platform.ids import parse_uuid
from models.platform.principal import Principal
from models.storage.objects import PENDING_UPLOAD, READY, ObjectNotFound, StorageObject
from models.storage.uploads import UploadMissing
from workers.gateways.storage import StorageUnavailable

Listed = Sequence[dict[str, Any]]


def verify(principal: Principal, object_ids: Sequence[UUID]) -> None:
    """Have uploads verified whose bytes nobody has looked for yet. What is not ready then is refused with its question."""
    if not object_ids:
        return
    visible = StorageObject.visible_to(principal).where(StorageObject.deleted_at.is_null())
    for row in visible.where((StorageObject.status == PENDING_UPLOAD) & StorageObject.id.in_(object_ids)):
        try:
            if settled(row).status == PENDING_UPLOAD:
                return
        except (UploadMissing, ObjectNotFound):
            return


def signed_alone(tenant_id: UUID, attachments: Listed) -> list[MessageAttachment]:
    """The attachments of one message."""
    return signed(tenant_id, [attachments])[0]


def signed(tenant_id: UUID, listed: Sequence[Listed]) -> list[list[MessageAttachment]]:
    """The attachments of several messages of this tenant, which the caller may read. One query for all."""
    objects = _objects(tenant_id, {one["object_id"] for attachments in listed for one in attachments})
    return [[_signed(one, objects.get(one["object_id"])) for one in attachments] for attachments in listed]


def _objects(tenant_id: UUID, object_ids: Iterable[str]) -> dict[str, StorageObject]:
    ids = [object_id for object_id in map(parse_uuid, object_ids) if object_id]
    if not ids:
        return {}
    query = StorageObject.select().where((StorageObject.tenant_id == tenant_id) & StorageObject.id.in_(ids))
    return {str(row.id): row for row in query.where(StorageObject.deleted_at.is_null())}


def _signed(attachment: dict[str, Any], stored: StorageObject | None) -> MessageAttachment:
    if stored is None:
        return MessageAttachment(**attachment, url_missing="deleted")
    if stored.status != READY:
        return MessageAttachment(**attachment, url_missing="not_ready")
    try:
        return MessageAttachment(**attachment, url=download_link(stored))
    except StorageUnavailable:
        return MessageAttachment(**attachment, url_missing="storage_unavailable")
