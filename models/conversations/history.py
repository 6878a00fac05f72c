"""Pages of a conversation's messages and events, from the newest page to the oldest; within a page the oldest comes first."""

from typing import Any, TypeVar
from uuid import UUID

from models.conversations.conversation import Message, RunEvent
from models.platform.keyset import Keys, KeysetPage

T = TypeVar("T", Message, RunEvent)
LONGEST = 1000  # rows of a page
LARGEST = 4_000_000  # bytes of text, after which a page ends
KEYS = Keys(int)
END = 2**31 - 1  # beyond every position

# The sizes are read first: a page of a thousand answers may be a hundred megabytes, which nobody should have to load.
PAGE = """
with newest as (
    select id, {number} as number, {size} as size from {table}
    where conversation_id = %(conversation_id)s and {number} < %(before)s and {condition}
    order by {number} desc limit %(limit)s + 1
), measured as (
    select id, sum(size) over later - size as size_of_later, lead(number) over later is not null as has_earlier
    from newest window later as (order by number desc)
)
select has_earlier, {{columns}} from measured join {table} using (id) where size_of_later < %(largest)s
order by {number} desc limit %(limit)s"""
MESSAGES = PAGE.format(table="message", number="position", size="octet_length(content)", condition="true")
EVENTS = PAGE.format(
    table="run_event",
    number="sequence",
    size="coalesce(octet_length(content_text), 0) + coalesce(octet_length(reasoning_text), 0) "
    "+ coalesce(pg_column_size(call_arguments), 0) + coalesce(pg_column_size(call_output), 0)",
    condition="(%(workflow_run_id)s::varchar is null or workflow_run_id = %(workflow_run_id)s)",
)


def messages(conversation_id: UUID, limit: int = LONGEST, cursor: str | None = None) -> KeysetPage[Message]:
    """The newest messages before the cursor, the oldest of them first. `next_cursor` leads to earlier ones.

    At most `limit`, and fewer if they are large, but at least one. InvalidCursor.
    """
    return _page(Message, MESSAGES, "position", conversation_id, limit, cursor)


def events(
    conversation_id: UUID, limit: int = LONGEST, cursor: str | None = None, *, workflow_run_id: str | None = None
) -> KeysetPage[RunEvent]:
    """The same for events; with `workflow_run_id`, only those of that run of a workflow."""
    return _page(RunEvent, EVENTS, "sequence", conversation_id, limit, cursor, workflow_run_id=workflow_run_id)


def _page(
    model: type[T], statement: str, number: str, conversation_id: UUID, limit: int, cursor: str | None, **more: Any
) -> KeysetPage[T]:
    [before] = KEYS.decode(cursor) if cursor is not None else [END]
    values = {"conversation_id": conversation_id, "before": min(before, END), "limit": limit, "largest": LARGEST}
    rows = model.all_with_extras(statement, **values, **more)
    items = [row for row, _ in reversed(rows)]
    has_earlier = bool(rows) and rows[-1][1]["has_earlier"]
    return KeysetPage(items, KEYS.encode([getattr(items[0], number)]) if has_earlier else None)
