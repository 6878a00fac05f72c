"""What a worker needs to answer a question."""

from dataclasses import dataclass
from typing import TypedDict
from uuid import UUID

from models.runs.run import Run

# Mark the run as running, and read its conversation up to its own question, in one round trip. Messages that came after
# the question are left out: an operator may retry a run when its conversation has gone on.
BEGIN = """
with begun as (
    update run set started_at = coalesce(started_at, now()),
        state = case state when 'waiting' then state else 'running' end  -- another step of a workflow waits for a person
    where id = %(id)s and state in ('queued', 'running', 'waiting')
    returning *
)
select {begun.columns}, users.display_name as user_name, (
    select coalesce(json_agg(json_build_object('role', role, 'content', content) order by position), '[]') from (
        select role, content, position from message
        where conversation_id = begun.conversation_id
            and position <= coalesce((begun.request->>'question_position')::integer, 2147483647)
        order by position desc limit %(limit)s
    ) newest
) as history
from begun left join users on users.id = begun.user_id"""


class HistoryMessage(TypedDict):
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatContext:
    """`history`: the newest messages of the conversation, oldest first. The last one is the question."""

    run: Run
    user_name: str | None
    history: list[HistoryMessage]

    @classmethod
    def begin(cls, run_id: UUID, history_limit: int) -> "ChatContext | None":
        """Mark the run as running and load its context. None if it was deleted or has ended already.

        `history_limit`: number of messages, the question included.
        """
        row = Run.one_with_extras(BEGIN, id=run_id, limit=history_limit)
        if row is None:
            return None
        run, extras = row
        return cls(run, extras["user_name"], extras["history"])
