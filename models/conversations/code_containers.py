"""Where the code of a conversation ran."""

from uuid import UUID

from models.platform.database import database

RECENT_MINUTES = 15  # a provider's containers expire after 20 idle ones
RECENT_EVENTS = 200  # that are looked through
LAST = """
select call_arguments ->> 'container_id' from (
    select tool_name, call_arguments, created_at from run_event
    where conversation_id = (select id from conversation where tenant_id = %(tenant_id)s and key = %(key)s)
    order by sequence desc limit %(events)s
) recent
where tool_name = 'code_interpreter' and created_at > now() - make_interval(mins => %(minutes)s) limit 1"""


def last_container(tenant_id: UUID, conversation_key: str) -> str | None:
    """The provider's id of the container in which an agent of this conversation last ran code, if that is not long ago."""
    values = {"tenant_id": tenant_id, "key": conversation_key, "events": RECENT_EVENTS, "minutes": RECENT_MINUTES}
    row = database.execute_prepared(LAST, values).fetchone()
    return row[0] if row else None
