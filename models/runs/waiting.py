"""Runs that wait for a person: how they begin to wait, how somebody decides, and how they go on.

All three lock the job first, then the run, then the approvals, as whoever ends a run does.
"""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from peewee import Case, fn

from models.jobs.ledger import WAITING as JOB_WAITING
from models.jobs.ledger import Job, LeaseLost
from models.platform import audit
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.ids import uuid7
from models.platform.json import storable_value
from models.platform.principal import Principal
from models.platform.settings import settings
from models.runs import approvals, events, tool_policy
from models.runs.approvals import (
    EXPIRED,
    PENDING,
    Approval,
    ApprovalDecided,
    ApprovalNotFound,
    ApprovalRequest,
)
from models.runs.run import QUEUED, RUNNING, WAITING, WORKFLOW, Run


@dataclass(frozen=True, slots=True)
class Answer:
    """`note`: the person's reason. `edited`: arguments instead of the model's, for a call that is approved."""

    state: Literal["approved", "denied"]
    note: str | None = None
    edited: dict[str, Any] | None = None


@in_transaction
def begin(job: Job, run: Run, calls: list[ApprovalRequest], sequence: int, **place: Any) -> bool:
    """Let the job and its run wait until somebody has decided about these calls. False if a cancel was requested.

    The event that says so is numbered `sequence`; `place` is that of a workflow's step. After the commit the caller sends
    it (progress.send_waiting_or_log).
    LeaseLost, and nothing may be committed, if the claim no longer owns the job or the run has ended.
    """
    if not job.suspend():
        return False
    rules, expires_at = tool_policy.of_tenant(run.tenant_id), now() + timedelta(hours=settings.approval_hours)
    asked = [_ask(job, run, call, rules, expires_at) for call in calls]
    agent = place.get("step_agent", run.agent)
    waiting = events.approval_requested(run.conversation_key, agent, [approvals.summary(one) for one in asked])
    if run.kind == WORKFLOW:
        waiting = events.of_workflow(waiting, run.agent, run.id, **place)
    waiting["sequence_number"] = sequence
    is_active = (Run.id == run.id) & Run.state.in_((QUEUED, RUNNING, WAITING))
    if not Run.update(state=WAITING, waiting=waiting).where(is_active).execute():
        raise LeaseLost(str(job.id))
    run.state, run.waiting = WAITING, waiting
    Approval.insert_many([approval.__data__ for approval in asked]).execute()
    return True


def _ask(job: Job, run: Run, call: ApprovalRequest, rules: dict[str, str], expires_at: Any) -> Approval:
    approval_id = uuid7()
    asked = storable_value(asdict(call))
    return Approval(
        id=approval_id,
        tenant_id=run.tenant_id,
        user_id=run.user_id,
        run_id=run.id,
        job_id=job.id,
        digest=approvals.digest_of(approval_id, call.tool_name, asked["arguments"]),
        needs_admin=rules.get(call.tool_name) == "admin",
        expires_at=expires_at,
        **asked,
    )


@in_transaction
def decide(
    principal: Principal, approval: Approval, answer: Answer, client: ClientInfo = UNKNOWN_CLIENT
) -> tuple[Approval, Job | None]:
    """Record a person's decision. Returns the approval, and the job that goes on with it: the caller sends that.

    Of any number of decisions one counts. The same one again changes nothing; another one is ApprovalDecided.
    ApprovalNeedsAdmin or ArgumentsAreTheOwners if the caller is not the one to make it.
    """
    rule = tool_policy.of_tenant(approval.tenant_id).get(approval.tool_name)  # it may be newer than the question
    approval.require_decider(principal, edits=answer.edited is not None, is_admins=rule == "admin")
    _lock(approval.job_id, approval.run_id)  # one decision after the other
    found = Approval.get_or_none(Approval.id == approval.id)
    if found is None:  # its run was deleted
        raise ApprovalNotFound()
    approval = found
    if approval.state != PENDING or approval.expires_at <= now():
        if (approval.state, approval.edited) != (answer.state, answer.edited):
            state = EXPIRED if approval.state == PENDING else approval.state
            raise ApprovalDecided(details={"approval_id": str(approval.id), "state": state})
        return approval, None
    decided = Approval.update(**asdict(answer), decided_by=principal.user_id, decided_at=fn.clock_timestamp())
    [approval] = decided.where(Approval.id == approval.id).returning(Approval).execute()
    _record(f"approval.{answer.state}", principal, approval, client)
    return approval, _go_on(approval.job_id, approval.run_id)


def due(limit: int = 100) -> list[tuple[UUID, UUID]]:
    """(job, run) of those that wait for approvals whose time is over."""
    is_due = (Approval.state == PENDING) & (Approval.expires_at <= fn.now())
    query = Approval.select(Approval.job_id, Approval.run_id).where(is_due).distinct().limit(limit)
    return [(approval.job_id, approval.run_id) for approval in query]


@in_transaction
def expire(job_id: UUID, run_id: UUID) -> Job | None:
    """Nobody has decided in time about calls of this job. Returns the job if it goes on: the caller sends it."""
    _lock(job_id, run_id)
    is_due = (Approval.job_id == job_id) & (Approval.state == PENDING) & (Approval.expires_at <= fn.now())
    query = Approval.update(state=EXPIRED, decided_at=fn.clock_timestamp()).where(is_due)
    expired: list[Approval] = list(query.returning(Approval).execute())
    for approval in expired:
        _record("approval.expired", "scheduler", approval)
    return _go_on(job_id, run_id) if expired else None


@in_transaction
def cancel_orphans() -> int:
    """Cancel the jobs that wait although their run does not: its deletion was cut in the middle. Returns how many."""
    run = Run.select(Run.id).where((Run.id == Job.run_id) & (Run.state == WAITING))
    return len(Job.cancel_where((Job.state == JOB_WAITING) & ~fn.exists(run)))


def _lock(job_id: UUID, run_id: UUID) -> None:
    Job.lock(job_id)
    Run.lock(run_id)


def _go_on(job_id: UUID, run_id: UUID) -> Job | None:
    """Wake the job and its run, if everything is decided that the job waits for."""
    if Approval.select().where((Approval.job_id == job_id) & (Approval.state == PENDING)).exists():
        return None
    job = Job.wake(job_id)
    if job is not None:
        others_wait = Job.select().where((Job.run_id == run_id) & (Job.state == JOB_WAITING))
        state = Case(None, [(fn.exists(others_wait), WAITING)], QUEUED)
        Run.update(state=state).where((Run.id == run_id) & (Run.state == WAITING)).execute()
    return job


def _record(action: str, actor: Principal | str, approval: Approval, client: ClientInfo = UNKNOWN_CLIENT) -> None:
    audit.record(
        action,
        actor,
        f"approval:{approval.id}",
        tenant_id=approval.tenant_id,
        client=client,
        run=str(approval.run_id),
        call=approval.call_id,
        tool=approval.tool_name,
        digest=approval.digest,
        edited=approval.edited is not None,
        **({"note": approval.note} if approval.note else {}),
    )
