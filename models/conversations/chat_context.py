"""What a worker needs to answer a question."""

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from models.platform.database import database
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
select {begun.columns}, users.display_name as user_name, summary, (
    select coalesce(json_agg(case when attachments = '[]' then json_build_object('role', role, 'content', content)
        else json_build_object('role', role, 'content', content, 'attachments', attachments, 'id', id) end
        order by position), '[]') from (
        select id, role, content, attachments, position from message
        where conversation_id = begun.conversation_id
            and position between coalesce(summary_end, 0)
                and coalesce((begun.request->>'question_position')::integer, 2147483647)
        order by position desc limit %(limit)s
    ) newest
) as history
from begun left join users on users.id = begun.user_id left join (
    select id as conversation_id, summary, summary_end from conversation where %(summaries)s
) known on known.conversation_id = begun.conversation_id
    and summary_end <= (begun.request->>'question_position')::integer"""

# A later summary covers more, and stays.
REMEMBER = """
update conversation set summary = %(summary)s, summary_end = %(end)s
where id = %(id)s and coalesce(summary_end, 0) <= %(end)s"""


class HistoryMessage(TypedDict):
    """`attachments`: as the message has them; a document with its `text`, or the `reason` why it has none, once it was read."""

    role: str
    content: str
    attachments: NotRequired[list[dict[str, Any]]]
    id: NotRequired[str]


@dataclass(frozen=True, slots=True)
class ChatContext:
    """`history`: the newest messages of the conversation, oldest first. The last one is the question. `summary`: of those
    before the history, if there is one."""

    run: Run
    user_name: str | None
    history: list[HistoryMessage]
    summary: str | None = None

    @classmethod
    def begin(cls, run_id: UUID, history_limit: int, *, summaries: bool = False) -> "ChatContext | None":
        """Mark the run as running and load its context. None if it was deleted or has ended already.

        `history_limit`: number of messages, the question included. `summaries`: whether a summary stands for those that it
        covers.
        """
        row = Run.one_with_extras(BEGIN, id=run_id, limit=history_limit, summaries=summaries)
        if row is None:
            return None
        run, extras = row
        return cls(run, extras["user_name"], extras["history"], extras["summary"])

    @property
    def covered(self) -> int | None:
        """How many messages of the conversation come before the history. None for runs of the first versions."""
        position = self.run.request.get("question_position")
        return None if position is None else position + 1 - len(self.history)

    def remember(self, summary: str, covered: int) -> None:
        """Keep a summary of the conversation's first messages."""
        values = {"id": self.run.conversation_id, "summary": summary, "end": covered}
        database.execute_prepared(REMEMBER, values)
