"""Many at once: branches that end, fail and are cancelled at the same moment, and repeated retries and cancels."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.jobs.ledger import Job, JobNotRetryable
from models.platform.database import release, transaction
from models.runs import progress
from models.runs.run import Run
from models.workflows import runs
from models.workflows.step import WorkflowStep
from workers import jobs, runtime
from workers.agents.turn import TurnResult
from workers.heartbeat import OWNER
from workers.jobs import WORKFLOW_STEP
from workers.lease import Lease
from workers.workflows import actors
from workers.workflows.declarations import Stage, Step, Workflow
from workers.workflows.plan import WorkflowFailed
from workers.workflows.stream import StepStream

BRANCHES = 8


@pytest.fixture
def claimed(person, run_workflow, do_jobs, declare):
    """(principal, run, [(lease, step, stream)]) of a run whose eight branches are all with workers."""
    steps = tuple(Step(f"b{number}", "data_analyst") for number in range(BRANCHES))
    stages = (Stage("fan", steps, mode="parallel"), Stage("end", (Step("end", "code_assistant"),)))
    declare(Workflow("fan", "F", "-", stages=stages))
    me = person()
    run = run_workflow(me, "fan", "[[text=x]]")
    do_jobs(1)
    branches = []
    for step in WorkflowStep.of_run(run.id):
        lease = Lease(Job.claim(step.job_id, OWNER, 60), WORKFLOW_STEP)
        step.begin(lease.job)
        branches.append((lease, step, StepStream(run, step, lease, 0)))
    return me, run, branches


def at_once(function, items):
    """function(item) for all items, each in a thread, begun together. Raises what one of them raises."""
    barrier = threading.Barrier(len(items))

    def work(item):
        try:
            barrier.wait(10)
            return function(item)
        finally:
            release()

    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(work, items))


def succeed(run, branch):
    lease, step, stream = branch
    result = TurnResult(
        response_text=step.name,
        structured_output=None,
        answering_agent=step.agent,
        handoff_occurred=False,
        usage={"input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "requests": 1},
        response_id=None,
        model="m",
        items=[{"type": "user_message"}, {"type": "assistant_message", "content_text": step.name}],
    )
    actors._succeed(lease, run, step, stream, result)


def renew(branches):
    for _ in range(20):
        Job.renew(OWNER, [lease.job.id for lease, _, _ in branches], 60)


def terminals(run):
    return [entry.kind for entry in progress.read(run.id, count=1000) if entry.terminal]


def test_of_branches_that_end_at_the_same_moment_one_begins_the_next_stage(claimed):
    _, run, branches = claimed
    at_once(lambda work: work(), [*(lambda b=b: succeed(run, b) for b in branches), lambda: renew(branches)])
    steps = WorkflowStep.of_run(run.id)
    assert [step.state for step in steps] == ["succeeded"] * BRANCHES + ["pending"]
    assert steps[-1].input == [f"b{number}" for number in range(BRANCHES)]
    assert Job.select().where((Job.run_id == run.id) & (Job.state == "queued")).count() == 1
    assert Run.get_by_id(run.id).usage["requests"] == BRANCHES


def test_of_branches_that_fail_at_the_same_moment_one_fails_the_run(claimed):
    _, run, branches = claimed

    def fail(branch):
        actors._fail(branch[0], run, branch[1], branch[2], WorkflowFailed("no_output", f"{branch[1].name} failed"))

    at_once(lambda work: work(), [*(lambda b=b: fail(b) for b in branches), lambda: renew(branches)])
    assert Run.get_by_id(run.id).error_code == "no_output"
    assert {step.state for step in WorkflowStep.of_run(run.id)} == {"failed"}
    assert {job.state for job in Job.select().where(Job.name == "workflow.step")} == {"dead"}
    assert terminals(run) == [b"error"]


def test_branches_that_end_fail_and_are_cancelled_at_once_leave_one_end(claimed):
    _, run, branches = claimed

    def fail(branch):
        actors._fail(branch[0], run, branch[1], branch[2], WorkflowFailed("no_output", "failed"))

    work = [lambda b=b: succeed(run, b) for b in branches[:4]]
    work += [lambda b=b: fail(b) for b in branches[4:7]]
    work += [lambda: jobs.cancel(branches[7][0].job.id), lambda: renew(branches)]
    at_once(lambda one: one(), work)
    runtime._finish_cancelled(branches[7][0].job)
    ended = Run.get_by_id(run.id)
    assert ended.state in ("failed", "cancelled") and len(terminals(run)) == 1
    found = [step.state for step in WorkflowStep.of_run(run.id)]
    assert found[:7] == ["succeeded"] * 4 + ["failed"] * 3, "what was done is kept, whatever ended the run"


def test_workers_that_see_a_cancel_at_the_same_moment_end_the_run_once(claimed):
    me, run, branches = claimed
    Run.cancel(me, run.id)
    assert not Run.get_by_id(run.id).is_finished, "its workers have not seen it"
    work = [lambda b=b: runtime._finish_cancelled(b[0].job) for b in branches]
    at_once(lambda one: one(), [*work, lambda: renew(branches)])
    assert Run.get_by_id(run.id).state == "cancelled"
    assert {job.state for job in Job.select().where(Job.name == "workflow.step")} == {"cancelled"}
    assert terminals(run) == [b"lifecycle"]


def test_of_many_cancels_one_counts(claimed):
    me, run, _ = claimed

    def cancel(_):
        try:
            runs.cancel(me, run.id)
        except runs.WorkflowRunNotActive:
            return False
        return True

    assert at_once(cancel, range(20)).count(True) == 1
    assert terminals(run) == [b"lifecycle"]


def test_of_many_retries_one_counts(claimed, do_jobs):
    me, run, branches = claimed
    runs.cancel(me, run.id)
    for lease, _, _ in branches:
        runtime._finish_cancelled(lease.job)

    def retry(_):
        try:
            with transaction():
                _, stopped = runs.reopen(me, run.id)
                jobs.requeue(stopped)
        except (runs.WorkflowRunNotRetryable, JobNotRetryable):
            return False
        return True

    assert at_once(retry, range(20)).count(True) == 1
    queued = list(Job.select().where((Job.run_id == run.id) & (Job.state == "queued")))
    assert len(queued) == BRANCHES
    do_jobs()
    assert Run.get_by_id(run.id).state == "succeeded"
