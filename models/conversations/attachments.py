"""What people attach to messages: objects in storage that they may see. A message keeps what they were when it was sent."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from models.platform.errors import BadRequest
from models.platform.principal import Principal
from models.platform.settings import settings
from models.storage.objects import StorageObject
from models.tenants import flags

MOST = 20  # of a message
IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")  # types that models are shown
Attachment = dict[str, Any]  # object_id, filename, mime_type, size_bytes, and tool_call_id of what an agent has made


class AttachmentsTooLarge(BadRequest):
    code = "attachments_too_large"


def attachment_of(stored: StorageObject, tool_call_id: str | None = None) -> Attachment:
    """What messages and events say of an object."""
    attachment = {
        "object_id": str(stored.id),
        "filename": stored.filename,
        "mime_type": stored.mime_type,
        "size_bytes": stored.size_bytes,
    }
    return {**attachment, "tool_call_id": tool_call_id} if tool_call_id else attachment


def resolve(principal: Principal, object_ids: Sequence[UUID]) -> list[Attachment]:
    """What a message with these objects keeps of them, each once.

    FlagOff if the tenant wants no attachments; ObjectNotFound, ObjectNotReady, AttachmentsTooLarge.
    """
    if object_ids:
        flags.require_on(principal.tenant_id, flags.ATTACHMENTS)
    found = [StorageObject.ready_for(principal, object_id) for object_id in dict.fromkeys(object_ids)]
    most = settings.attachments_max_mb * 1024 * 1024
    if sum(one.size_bytes for one in found) > most:
        raise AttachmentsTooLarge(f"The attachments of a message may have {settings.attachments_max_mb} MB together.")
    return [attachment_of(one) for one in found]
