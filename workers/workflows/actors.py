"""The actors of workflows. Each step of a run is a job; the transaction that ends one begins what comes next."""

from models.conversations import recording
from models.conversations.chat_context import ChatContext
from models.jobs.ledger import CANCELLED, DEAD, Job, LeaseLost
from models.platform.database import in_transaction, release, transaction
from models.platform.ids import parse_uuid
from models.platform.json import encode
from models.platform.settings import settings
from models.runs import progress, waiting
from models.runs import steps as journal_steps
from models.runs.run import Run
from models.runs.shared_progress import SharedWriter
from models.workflows.step import WorkflowStep
from workers import jobs, metrics
from workers.agents import approvals, documents
from workers.agents.approvals import ApprovalRequest, Decisions, WaitsForApproval
from workers.agents.catalog import Catalog, catalog
from workers.agents.journal import RunJournal
from workers.agents.loop import run_agent
from workers.agents.providers.errors import ProviderError
from workers.agents.turn import TurnRequest, TurnResult
from workers.housekeeping import MESSAGES
from workers.jobs import WORKFLOW_ADVANCE, WORKFLOW_FAIL, WORKFLOW_STEP
from workers.lease import Cancelled
from workers.runtime import Lease, actor
from workers.workflows import boundaries, checks
from workers.workflows.advance import advance, declaration, fail
from workers.workflows.declarations import Step
from workers.workflows.plan import WorkflowFailed, declared
from workers.workflows.stream import StepStream


@actor(WORKFLOW_ADVANCE)
def advance_run(lease: Lease) -> None:
    """Begin a run; or go on with one that was opened again although none of its steps had failed."""
    job = lease.job
    with transaction():
        run = _lock(job)
        job.finish()
        steps = advance(run) if run else []
    _conclude(run, job, steps)


@actor(WORKFLOW_STEP)
def run_step(lease: Lease) -> None:
    """Let the step's agent do it."""
    job, step = lease.job, _step_of(lease.job)
    context = ChatContext.begin(step.run_id, settings.agent_history_messages) if step else None
    if step is None or context is None:  # the run was deleted, or has ended before the step began
        job.finish(CANCELLED)  # not succeeded: if the run is opened again, the step is still to be done
        return
    if job.epoch > 1:
        _requeue_stopped(job)
    step.begin(job)
    run, steps, floor = context.run, WorkflowStep.of_run(step.run_id), context.run.last_sequence() - progress.EPOCH_SIZE
    journal = RunJournal.open(job, str(step.sequence), lambda event: event["step_name"] == step.name)
    stream = StepStream(run, step, lease, floor)
    stream.begin(steps, journal.void_from)
    try:
        rules = declared(declaration(run), step)
        request = turn_request(context, step, rules, approvals.decisions(run.id) if job.epoch > 1 else {})
        release()  # a model may take minutes: no connection is held meanwhile
        request.history = documents.with_texts(request, lease.checkpoint, stream.waiting)
        turn = run_agent(
            request,
            checkpoint=lease.checkpoint,
            wait=stream.waiting,
            flush=stream.finish,
            agents=agents_for(rules),
            journal=journal,
        )
        result = stream.add_all(turn)
        _check_output(rules, result)
    except (ProviderError, WorkflowFailed) as error:
        _fail(lease, run, step, stream, error)
    except WaitsForApproval as needed:
        _pause(lease, step, stream, needed.requests)
    else:
        _succeed(lease, run, step, stream, result)


@actor(WORKFLOW_FAIL)
def fail_step(lease: Lease) -> None:
    """End a run because a job of it is dead, and send its terminal event."""
    job, step = lease.job, _step_of(lease.job)
    code = job.args.get("code", "internal_error")
    message = MESSAGES.get(code, MESSAGES["internal_error"])
    with transaction():
        run = _lock(job)
        job.finish()
        if run:
            if step:
                step.fail(code, message)
            fail(run, code, _at(step, message))
    _conclude(run, job, [])


def turn_request(context: ChatContext, step: WorkflowStep, rules: Step, decisions: Decisions) -> TurnRequest:
    """The question comes first, so that each agent knows what it is about, and then what this step is told."""
    run, history = context.run, [*context.history]
    told = step.input if isinstance(step.input, str) else encode(step.input).decode()
    if told != history[-1]["content"]:
        history.append({"role": "user", "content": told})
    return TurnRequest(
        agent=step.agent,
        history=history,
        conversation_id=run.conversation_key,
        user_id=run.user_id,
        user_name=context.user_name,
        tenant_id=run.tenant_id,
        location=run.request.get("location"),
        run_options={"max_turns": rules.max_turns} if rules.max_turns else {},
        decisions=decisions,
        conversation_row=run.conversation_id,
    )


def agents_for(rules: Step) -> Catalog:
    """The catalogue, in which the step's agent answers in the form that the step wants. Providers know only objects."""
    agents, schema = catalog(), rules.output_schema
    if schema is None or schema.get("type") != "object" or agents.get(rules.agent).output_schema:
        return agents
    return agents.with_output(rules.agent, schema)


def _check_output(step: Step, result: TurnResult) -> None:
    output = result.response_text if result.structured_output is None else result.structured_output
    if reason := checks.mismatch(output, step.output_schema):
        text = f"The output does not fit the schema of the step: {reason}."
        raise WorkflowFailed("output_invalid", text, result.usage)


def _succeed(lease: Lease, run: Run, step: WorkflowStep, stream: StepStream, result: TurnResult) -> None:
    """Store the step, and begin what comes next. The result is kept even if the run has ended meanwhile."""
    stream.add_lifecycle("step_end", state="succeeded")
    last_sequence = stream.finish()
    with transaction():
        locked = _lock(lease.job)
        if result.step and locked:
            journal_steps.save_in_transaction(lease.job, result.step.after(last_sequence))
        lease.job.finish()
        step.meter(run, result.usage)
        step.succeed(
            result.response_text,
            result.structured_output,
            result.response_id,
            result.usage,
            attachments=result.attachments,
            sources=result.sources,
        )
        recording.record_events(run, result.items if step.sequence == 0 else result.items[1:])  # one question
        WorkflowStep.add_usage(run.id)
        steps = advance(locked) if locked else []
    _conclude(locked, lease.job, steps)


def _fail(
    lease: Lease, run: Run, step: WorkflowStep, stream: StepStream, error: ProviderError | WorkflowFailed
) -> None:
    """The step has failed, and with it the run. The job is dead, so the run can be retried from here."""
    code, message = error.code, str(error)
    stream.add_lifecycle("step_end", state="failed", code=code)
    stream.finish()
    with transaction():
        locked = _lock(lease.job)
        lease.job.finish(DEAD, f"{code}: {message}")
        step.meter(run, error.usage or {})
        step.fail(code, message, error.usage)
        WorkflowStep.add_usage(run.id)
        if locked:
            fail(locked, code, _at(step, message))
    _conclude(locked, lease.job, [])


def _pause(lease: Lease, step: WorkflowStep, stream: StepStream, requests: list[ApprovalRequest]) -> None:
    """Let the step wait for a person, without a worker. Other branches go on."""
    stream.finish()
    with transaction():
        run = _lock(lease.job)
        if run is None:
            raise LeaseLost(str(lease.job.id))
        if not waiting.begin(lease.job, run, requests, run.last_sequence(), **boundaries.place_of(step)):
            raise Cancelled
    progress.send_waiting_or_log(run)


def _at(step: WorkflowStep | None, message: str) -> str:
    return f"Step {step.name}: {message}" if step else message


def _step_of(job: Job) -> WorkflowStep | None:
    step_id = parse_uuid(job.args.get("step_id"))
    return WorkflowStep.get_or_none(WorkflowStep.id == step_id) if step_id else None


@in_transaction
def _lock(job: Job) -> Run | None:
    """The job's run, locked after its open jobs and its conversation. None if it has ended, or was deleted."""
    if job.run_id is None:
        raise ValueError(f"the job {job.id} has no run")
    Job.lock_open(job.run_id)
    recording.lock_conversation(job.run_id)
    run = Run.lock(job.run_id)
    return None if run is None or run.is_finished else run


def _requeue_stopped(job: Job) -> None:
    """If an operator has retried one step of a run, the others that were stopped with it go on as well."""
    with transaction():
        if run := _lock(job):  # otherwise a branch that failed just now would lose its dead job
            jobs.requeue(WorkflowStep.stopped_jobs(run.id))


def _conclude(run: Run | None, job: Job, steps: list[WorkflowStep]) -> None:
    """After the commit: if the run has ended by this, send its end. If that is lost, clients get it from Postgres."""
    if run is None or run.terminal is None or run.terminal_sequence is None:
        return
    metrics.run_ended(run)
    if run.state == "succeeded":
        writer = SharedWriter(run.id, job, run.terminal_sequence - progress.EPOCH_SIZE)
        writer.stamp += progress.EPOCH_SIZE - 1  # after all batches of the step
        writer.append(boundaries.at_end(run, steps))
        writer.wait()
    progress.send_terminal(run)
