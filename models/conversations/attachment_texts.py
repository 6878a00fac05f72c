"""What documents say that are attached to messages. Each is read once for a message, and its text is a part of that."""

from typing import NamedTuple
from uuid import UUID

import peewee

from models.platform.database import database
from models.platform.json import storable_text

LONGEST_REASON = 200  # characters
# The newest messages' first, until there is enough; a text that does not fit any more is left where it is.
LOAD = """
select message_id, object_id, text, reason from (
    select message_id, object_id, text, reason,
        sum(coalesce(length(text), 0)) over (order by message_id desc, object_id) as total
    from attachment_text where message_id = any(%(messages)s)
) measured where total <= %(most)s"""
SAVE = """
insert into attachment_text (message_id, object_id, text, reason)
values (%(message_id)s, %(object_id)s, %(text)s, %(reason)s) on conflict do nothing"""


class Text(NamedTuple):
    """One of the two is None: what the document says, or why that is not known."""

    text: str | None
    reason: str | None


def load(message_ids: list[UUID], most: int) -> dict[tuple[UUID, UUID], Text]:
    """What is known of the documents of these messages, by (message, object), the newest of it: `most` characters at most."""
    rows = database.execute_prepared(LOAD, {"messages": message_ids, "most": most}).fetchall()
    return {(row[0], row[1]): Text(row[2], row[3]) for row in rows}


def save(message_id: UUID, object_id: UUID, found: Text) -> None:
    """Keep what a document says. Nothing is kept if another attempt has done so, or the message is gone."""
    text = found.text if found.text is None else storable_text(found.text)
    reason = found.reason if found.reason is None else storable_text(found.reason)[:LONGEST_REASON]
    values = {"message_id": message_id, "object_id": object_id, "text": text, "reason": reason}
    try:
        database.execute_prepared(SAVE, values)
    except peewee.IntegrityError as error:
        if "attachment_text_message_id_fkey" not in str(error):
            raise
