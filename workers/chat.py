"""The chat actor: load the conversation, let the agent answer, store the answer, then send the terminal event."""

from typing import Any
from uuid import UUID

from models.conversations import answers
from models.conversations.answers import Answer
from models.conversations.chat_context import ChatContext
from models.jobs.ledger import DEAD
from models.platform.database import release, transaction
from models.platform.settings import settings
from models.runs import events, progress, waiting
from models.runs.run import FAILED, Run
from workers import metrics
from workers.agents import approvals, documents
from workers.agents.approvals import ApprovalRequest, Decisions, WaitsForApproval
from workers.agents.compaction import Compaction
from workers.agents.journal import RunJournal
from workers.agents.loop import run_agent
from workers.agents.providers.errors import ProviderError
from workers.agents.turn import TurnRequest, TurnResult
from workers.event_stream import EventStream
from workers.jobs import CHAT_RUN
from workers.lease import Cancelled
from workers.runtime import Lease, actor

SUMMARISED = 5  # times as many messages as the model is given are read, to be summarised


@actor(CHAT_RUN)
def run_chat(lease: Lease) -> None:
    run_id = lease.job.run_id
    context = load(run_id) if run_id else None
    release()  # a model may take minutes: no connection is held meanwhile
    if context is None:  # the run was deleted or cancelled before it began
        return
    run = context.run
    journal = RunJournal.open(lease.job)
    decisions = approvals.decisions(run.id) if lease.job.epoch > 1 else {}
    release()
    stream = EventStream(run, lease, journal.void_from)
    request = turn_request(context, decisions)
    request.history = documents.with_texts(request, lease.checkpoint, stream.waiting)
    turn = run_agent(request, checkpoint=lease.checkpoint, wait=stream.waiting, flush=stream.finish, journal=journal)
    try:
        result = stream.add_all(turn)
    except ProviderError as error:
        fail(lease, run, stream, error)
    except WaitsForApproval as needed:
        pause(lease, run, stream, needed.requests)
    else:
        store(lease, run, stream, result)
    if run.terminal:  # otherwise it waits, or was deleted meanwhile
        metrics.run_ended(run)
        progress.send_terminal(run)


def load(run_id: UUID) -> ChatContext | None:
    """The context of a run, with more messages than the model is given if those can be summarised."""
    messages = settings.agent_history_messages
    if settings.agent_compaction == "trim":
        return ChatContext.begin(run_id, messages)
    return ChatContext.begin(run_id, SUMMARISED * messages, summaries=True)


def compaction(context: ChatContext) -> Compaction | None:
    if settings.agent_compaction == "trim" or context.covered is None:
        return None

    def save(summary: str, covered: int) -> None:
        try:
            context.remember(summary, covered)
        finally:
            release()

    messages = settings.agent_history_messages
    return Compaction(summary=context.summary, covered=context.covered, messages=messages, save=save)


def turn_request(context: ChatContext, decisions: Decisions) -> TurnRequest:
    run = context.run
    return TurnRequest(
        agent=run.agent,
        history=context.history,
        conversation_id=run.conversation_key,
        user_id=run.user_id,
        user_name=context.user_name,
        tenant_id=run.tenant_id,
        location=run.request.get("location"),
        run_options=run.request.get("run_options") or {},
        compaction=compaction(context),
        decisions=decisions,
        conversation_row=run.conversation_id,
    )


def store(lease: Lease, run: Run, stream: EventStream, result: TurnResult) -> None:
    """Store the answer and finish the run and its job, in one transaction."""
    last_sequence = stream.finish()
    terminal = events.succeeded(
        run.conversation_key,
        result.answering_agent,
        result.response_text,
        result.structured_output,
        response_id=result.response_id,
        payload=_payload(result),
        attachments=result.attachments or None,
    )
    answer = Answer(
        text=result.response_text,
        agent=result.answering_agent,
        items=result.items,
        attachments=result.attachments,
        annotations=result.annotations,
        result=_run_result(result),
        usage=result.usage,
        step=result.step and result.step.after(last_sequence),
    )
    answers.store(lease.job, run, answer, terminal, stream.next_sequence)


def _payload(result: TurnResult) -> dict[str, Any]:
    """What the terminal event says besides the answer."""
    fields = {"refusal": result.refusal, "annotations": result.annotations, "attachments_failed": result.failures}
    return {name: value for name, value in fields.items() if value}


def _run_result(result: TurnResult) -> dict[str, Any]:
    return {
        "response": result.response_text,
        "structured_output": result.structured_output,
        "agent_used": result.answering_agent,
        "handoff_occurred": result.handoff_occurred,
        "model": result.model,
        "refusal": result.refusal,
        "attachments": result.attachments,
        "attachments_failed": result.failures,
        "annotations": result.annotations,
    }


def fail(lease: Lease, run: Run, stream: EventStream, error: ProviderError) -> None:
    """The model gives no answer: the run has failed. Its job is dead; if an operator retries it, it goes on from its
    journal."""
    stream.finish()
    terminal = events.failed(run.conversation_key, run.agent, error.code, str(error))
    with transaction():
        lease.job.finish(DEAD, f"{error.code}: {error}")
        run.finish(
            FAILED,
            terminal,
            stream.next_sequence,
            error_code=error.code,
            error_message=str(error),
            usage=error.usage,
        )


def pause(lease: Lease, run: Run, stream: EventStream, requests: list[ApprovalRequest]) -> None:
    """Let the run wait for a person, without a worker. What was done so far is in the journal."""
    stream.finish()
    with transaction():
        if not waiting.begin(lease.job, run, requests, stream.next_sequence):
            raise Cancelled
    progress.send_waiting_or_log(run)
