"""The documents attached to messages, read for the model: in a child process, as for vector stores, and once for a message."""

import logging
import threading
from collections.abc import Callable
from functools import partial
from uuid import UUID

from models.conversations import attachment_texts
from models.conversations.attachment_texts import Text
from models.conversations.chat_context import HistoryMessage
from models.platform.database import release
from models.storage.objects import ObjectNotFound, ObjectNotReady, StorageObject
from workers.agents import memory
from workers.agents.attachments import Attachment, is_image
from workers.agents.catalog import catalog
from workers.agents.providers.client import Wait
from workers.agents.turn import TurnRequest
from workers.gateways.storage import BlobMissing, StorageUnavailable

log = logging.getLogger(__name__)
LONGEST = 200_000  # characters of a document that are kept
MOST = 400_000  # characters of all documents of a conversation that a model may be given
PIECE_TOKENS = 4096  # in which a document is read; they are put together again
CUT = "\n[cut: the document is longer]"
Key = tuple[UUID, UUID]  # of the message and the object
AT_ONCE = threading.BoundedSemaphore(2)  # children of this process, each of which may take much memory
NOT_SHOWN = "it was attached earlier, and is not shown again"
GONE, AWAY = "it was deleted", "the storage cannot be reached"


def with_texts(request: TurnRequest, checkpoint: Callable[[], None], wait: Wait) -> list[HistoryMessage]:
    """The history of a request, in which every document has its `text` or the `reason` why it has none.

    Those of the question are read if nobody has yet. Half of what the model may be given is for documents at most.
    """
    history = request.history
    holders = [message for message in history if any(map(_is_document, message.get("attachments") or ()))]
    if not holders:
        return history
    agent = catalog().get(request.agent)
    model = (request.run_options.get("run_config") or {}).get("model") or agent.model_name
    most = min(
        MOST, 2 * memory.budget_of(model)
    )  # about half of the tokens, as most texts have four characters for one
    try:
        known = attachment_texts.load([UUID(message["id"]) for message in holders], most)
    finally:
        release()
    newest = holders[-1]
    read = partial(_read, request.tenant_id, checkpoint, wait)
    return [_filled(message, known, read if message is newest else None, most) for message in history]


def _is_document(attachment: Attachment) -> bool:
    return not is_image(attachment)


def _filled(
    message: HistoryMessage, known: dict[Key, Text], read: Callable[[Key], Text] | None, most: int
) -> HistoryMessage:
    """`read`: of documents of which nothing is known yet; None: those are not read."""
    filled: list[Attachment] = []
    left = most
    for one in message.get("attachments") or ():
        if not _is_document(one):
            filled.append(one)
            continue
        key = UUID(message["id"]), UUID(one["object_id"])
        found = known.get(key) or (read(key) if read else Text(None, NOT_SHOWN))
        text = found.text
        if text is not None and len(text) > left:
            text = text[:left] + CUT
        left = max(0, left - len(text or ""))
        filled.append({**one, "text": text, "reason": found.reason})
    return {**message, "attachments": filled} if filled else message


def _read(tenant_id: UUID, checkpoint: Callable[[], None], wait: Wait, key: Key) -> Text:
    """What the document says now; it is kept unless it can be read another time."""
    message_id, object_id = key
    try:
        stored = StorageObject.of_tenant(tenant_id, object_id)
        release()
        with wait():
            found = _extracted(stored, checkpoint)
    except (ObjectNotFound, ObjectNotReady, BlobMissing):
        found = Text(None, GONE)
    except StorageUnavailable:
        log.warning("attachment.not_loaded", extra={"object_id": str(object_id)})
        return Text(None, AWAY)
    try:
        attachment_texts.save(message_id, object_id, found)
    finally:
        release()
    return found


def _extracted(stored: StorageObject, checkpoint: Callable[[], None]) -> Text:
    from workers.storage.reading import BlobDamaged, fetch
    from workers.vector_stores.extraction.failures import Unreadable
    from workers.vector_stores.extraction.process import reading

    parts: list[str] = []
    size = 0
    with AT_ONCE:
        checkpoint()
        try:
            kind = stored.mime_type
            with (
                fetch(stored) as file,
                reading(file, kind, size=PIECE_TOKENS, overlap=0, checkpoint=checkpoint) as found,
            ):
                for text, _ in found.chunks:
                    parts.append(text)
                    size += len(text)
                    if size > LONGEST:
                        break
        except Unreadable as error:
            return Text(None, error.message)
        except BlobDamaged:
            log.exception("attachment.damaged", extra={"object_id": str(stored.id)})
            return Text(None, "the stored bytes are damaged")
    whole = "\n".join(parts)
    return Text(whole if len(whole) <= LONGEST else whole[:LONGEST] + CUT, None)
