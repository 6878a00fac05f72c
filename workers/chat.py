"""The chat actor: load the conversation, let the agent answer, store the answer, then say that it is done."""

from contextlib import contextmanager
from typing import Any

from models.conversations import answers
from models.jobs.ledger import DEAD
from models.platform.database import release
from models.platform.settings import settings
from models.runs import events, progress
from models.runs.run import FAILED, Run
from workers.agents.loop import ToolsContext, TurnRequest, TurnResult, run_agent
from workers.agents.provider import ProviderError
from workers.jobs import CHAT_RUN
from workers.runtime import Lease, actor


@actor(CHAT_RUN)
def run_chat(lease: Lease) -> None:
    run = Run.begin(lease.job.run_id, history=settings.agent_history_messages)
    release()  # a model may take minutes: no connection is held meanwhile
    if run is None:  # deleted or cancelled before we came
        return
    stream = Stream(run, lease)
    context = ToolsContext(user_id=run.user_id, tenant_id=run.tenant_id)
    try:
        result = stream.relay(
            run_agent(question(run), tools_context=context, checkpoint=lease.checkpoint, interruptible=stream.waiting)
        )
    except ProviderError as error:
        give_up(lease, run, stream, error)
    else:
        store(lease, run, stream, result)
    if run.terminal:  # else it was deleted meanwhile
        progress.end(run)


def question(run: Run) -> TurnRequest:
    """What the model is asked: the conversation so far, its newest message being the user's question."""
    options = dict(run.request)
    return TurnRequest(
        agent=run.agent,
        history=run.history,
        conversation_id=run.conversation_key,
        user_id=str(run.user_id or ""),
        user_name=run.user_name,
        tenant_id=str(run.tenant_id),
        message=options["message"],
        location=options.get("location"),
        run_options=options.get("run_options") or {},
    )


class Stream:
    """Numbers the events of one attempt and writes them, those of one moment together."""

    def __init__(self, run: Run, lease: Lease):
        self.run, self.lease = run, lease
        self.next = progress.first_sequence(lease.job.epoch)
        self.pending: list[tuple[int, str, bytes]] = []
        self.writing: progress.Writing | None = None
        if lease.job.epoch > 1:
            self.add(events.restarted(run.conversation_key, run.agent, lease.job.epoch))

    def add(self, event: dict[str, Any]) -> None:
        event["sequence_number"] = self.next
        self.pending.append((self.next, event["kind"], progress.encode(event)))
        self.next += 1

    def flush(self) -> None:
        """Send what is pending. Waits for the write before this one, so that one at most is under way."""
        if self.pending:
            pending, self.pending = self.pending, []
            self.settle()
            self.writing = progress.append(self.run.id, pending)

    def settle(self) -> None:
        if self.writing:
            self.writing.wait()

    def finish(self) -> None:
        """All that was added is written."""
        self.flush()
        self.settle()

    @contextmanager
    def waiting(self):
        """Around every wait for the model: what is known so far goes out first."""
        self.flush()
        with self.lease.interruptible():
            yield

    def relay(self, turn) -> TurnResult:
        """Write all events of a turn; its result."""
        try:
            while True:
                self.add(next(turn))
        except StopIteration as end:
            return end.value
        finally:
            turn.close()


def store(lease: Lease, run: Run, stream: Stream, result: TurnResult) -> None:
    """All that the answer leaves behind, in the transaction that ends the job. Only then is the end announced."""
    stream.finish()
    agent = result.answering_agent
    terminal = events.succeeded(
        run.conversation_key,
        agent,
        result.response_text,
        result.structured_output,
        response_id=result.response_id,
        payload={"refusal": True} if result.refusal else {},
    )
    answer = {
        "response": result.response_text,
        "structured_output": result.structured_output,
        "agent_used": agent,
        "handoff_occurred": result.handoff_occurred,
        "model": result.model,
        "refusal": result.refusal,
        "attachments": result.attachments,
    }
    answers.store(
        lease.job,
        run,
        text=result.response_text,
        agent=agent,
        items=result.items,
        attachments=result.attachments,
        terminal=terminal,
        sequence=stream.next,
        result=answer,
        usage=result.usage,
    )


def give_up(lease: Lease, run: Run, stream: Stream, error: ProviderError) -> None:
    """The model cannot answer. The run failed and its dead job is there for an operator to retry."""
    stream.finish()
    terminal = events.failed(run.conversation_key, run.agent, error.code, str(error))
    with lease.job.finish(DEAD, f"{error.code}: {error}"):
        run.conclude(FAILED, terminal, stream.next, error_code=error.code, error_message=str(error), usage=error.usage)
