"""Runs that are cancelled, whose workers die, and that are retried."""

import pytest

from models.conversations.chat_context import ChatContext
from models.jobs import recovery
from models.jobs.ledger import Job, JobNotRetryable, LeaseLost
from models.platform.database import database, transaction
from models.runs.run import Run
from models.workflows import runs
from models.workflows.step import WorkflowStep
from workers import jobs, runtime
from workers.workflows import actors
from workers.workflows.declarations import Stage, Step, Workflow

A, B = "data_analyst", "code_assistant"


def fan(*mappers):
    steps = tuple(Step(f"s{number}", A, input_mapper=mapper) for number, mapper in enumerate(mappers))
    return Workflow("fan", "F", "-", stages=(Stage("fan", steps, mode="parallel"), Stage("end", (Step("end", B),))))


def told(text):
    return lambda value, steps: text


def step_jobs(run):
    rows = Job.select().where((Job.run_id == run.id) & (Job.name == "workflow.step"))
    return list(rows.order_by(Job.id))


def states(run):
    return [step.state for step in WorkflowStep.of_run(run.id)]


@pytest.fixture
def fails_once(declare):
    """A workflow whose second branch fails until `settle()` is called. Returns settle."""
    text = ["[[status=400]] no"]
    declare(fan(told("[[text=good]]"), lambda value, steps: text[0], told("[[text=fine]]")))

    def settle(run):
        text[0] = "[[text=better]]"
        WorkflowStep.update(input=text[0]).where(
            (WorkflowStep.run_id == run.id) & (WorkflowStep.sequence == 1)
        ).execute()

    return settle


def retry(me, run):
    with transaction():
        _, stopped = runs.reopen(me, run.id)
        jobs.requeue(stopped)
    return stopped


def test_a_retry_goes_on_from_the_failed_step(person, run_workflow, do_jobs, fails_once, events_of):
    me = person()
    run = run_workflow(me, "fan", "Hi", "c1")
    do_jobs()
    assert states(run) == ["succeeded", "failed", "pending"]
    before = events_of(run)[-1]["sequence_number"]
    fails_once(run)
    assert len(retry(me, run)) == 2
    assert Run.get_by_id(run.id).state == "queued"
    do_jobs()
    run = Run.get_by_id(run.id)
    assert (run.state, states(run)) == ("succeeded", ["succeeded"] * 4)
    assert WorkflowStep.of_run(run.id)[3].input == ["good", "better", "fine"]
    assert [job.epoch for job in step_jobs(run)] == [1, 2, 1, 1], "what had succeeded was not done again"
    events = events_of(run)
    assert events[0]["sequence_number"] > before, "a client that knew the failed end reads on"
    assert [event["is_terminal"] for event in events].count(True) == 1


def test_an_operator_who_retries_the_failed_job_takes_the_stopped_branches_along(
    person, run_workflow, do_jobs, fails_once
):
    run = run_workflow(person(), "fan", "Hi")
    do_jobs()
    fails_once(run)
    dead = next(job for job in step_jobs(run) if job.state == "dead")
    jobs.retry(dead.id)
    do_jobs()
    assert (Run.get_by_id(run.id).state, states(run)) == ("succeeded", ["succeeded"] * 4)


def test_a_run_that_failed_between_its_steps_is_retried_there(person, run_workflow, do_jobs, declare, monkeypatch):
    me, broken = person(), [True]

    def reduce(outputs):
        if broken[0]:
            raise RuntimeError
        return "reduced"

    stages = (
        Stage("fan", (Step("a", A), Step("b", B)), mode="parallel", reducer=reduce),
        Stage("end", (Step("c", A),)),
    )
    declare(Workflow("fan", "F", "-", stages=stages))
    run = run_workflow(me, "fan", "[[text=x]]")
    do_jobs()
    assert Run.get_by_id(run.id).error_code == "reducer_failed"
    broken[0] = False
    assert retry(me, run) == []
    with transaction():
        jobs.enqueue(jobs.WORKFLOW_ADVANCE, run_id=run.id, tenant_id=run.tenant_id)
    do_jobs()
    assert (Run.get_by_id(run.id).state, WorkflowStep.of_run(run.id)[2].input) == ("succeeded", "reduced")


def test_a_retry_waits_until_the_stopped_branches_have_stopped(person, run_workflow, do_jobs, fails_once):
    me = person()
    run = run_workflow(me, "fan", "Hi")
    do_jobs(2)
    Job.claim(step_jobs(run)[2].id, "elsewhere", 60)
    do_jobs(1)
    assert Run.get_by_id(run.id).state == "failed"
    with pytest.raises(runs.WorkflowRunNotRetryable) as refused:
        retry(me, run)
    assert refused.value.headers["Retry-After"] == "1"
    with pytest.raises(JobNotRetryable):
        jobs.retry(step_jobs(run)[1].id)
    assert Run.get_by_id(run.id).state == "failed"


def test_a_retry_of_a_run_that_is_active_is_not_told_to_wait(person, run_workflow, do_jobs):
    me = person()
    run = run_workflow(me, "analysis_code", "[[text=x]]")
    do_jobs(1)
    Job.claim(step_jobs(run)[0].id, "elsewhere", 60)
    with pytest.raises(runs.WorkflowRunNotRetryable, match="Only a failed or cancelled") as refused:
        retry(me, run)
    assert not refused.value.headers


def test_only_failed_and_cancelled_runs_are_retried_and_only_by_those_who_see_them(person, run_workflow, do_jobs):
    me = person()
    run = run_workflow(me, "analysis_code", "[[text=x]]")
    for _ in range(2):
        with pytest.raises(runs.WorkflowRunNotRetryable):
            retry(me, run)
        do_jobs()
    with pytest.raises(runs.WorkflowRunNotFound):
        retry(person(), run)


def test_a_cancel_ends_the_run_at_once_and_nothing_more_is_begun(person, run_workflow, do_jobs, events_of):
    me = person()
    run = run_workflow(me, "analysis_parallel", "[[text=x]]")
    do_jobs(2)
    Job.claim(step_jobs(run)[1].id, "elsewhere", 60)
    runs.cancel(me, run.id)
    run = Run.get_by_id(run.id)
    assert (run.state, run.finished_at is not None) == ("cancelled", True)
    assert [step.shown_state(run) for step in WorkflowStep.of_run(run.id)] == ["succeeded", "cancelled"]
    assert [(job.state, job.cancel_requested) for job in step_jobs(run)][1] == ("running", True)
    assert do_jobs() == 0
    last = events_of(run)[-1]
    assert (last["event"], last["is_terminal"], last["workflow_run_id"]) == ("cancelled", True, str(run.id))
    with pytest.raises(runs.WorkflowRunNotActive):
        runs.cancel(me, run.id)
    with pytest.raises(runs.WorkflowRunNotFound):
        runs.cancel(person(), run.id)


def test_a_step_that_ends_after_the_cancel_keeps_its_result_and_ends_nothing(
    person, run_workflow, do_jobs, monkeypatch
):
    me, seen = person(), []

    def cancel_meanwhile(request, **more):
        runs.cancel(me, run.id)
        seen.append(request)
        return original(request, **more)

    original = actors.run_agent
    run = run_workflow(me, "analysis_code", "[[text=late]]")
    do_jobs(1)
    monkeypatch.setattr(actors, "run_agent", cancel_meanwhile)
    do_jobs()
    run = Run.get_by_id(run.id)
    assert (run.state, run.result, len(seen)) == ("cancelled", None, 1)
    assert [step.output_text for step in WorkflowStep.of_run(run.id)] == ["late"]


def test_a_cancelled_run_can_be_retried(person, run_workflow, do_jobs):
    me = person()
    run = run_workflow(me, "analysis_parallel", "[[text=x]]")
    do_jobs(2)
    runs.cancel(me, run.id)
    assert len(retry(me, run)) == 1
    do_jobs()
    assert (Run.get_by_id(run.id).state, [job.epoch for job in step_jobs(run)]) == ("succeeded", [1, 1, 1])


def test_a_worker_that_vanishes_costs_one_step_and_a_vanishing_step_fails_the_run(
    person, run_workflow, do_jobs, monkeypatch, events_of
):
    statement = recovery.RECOVER_EXPIRED.replace("interval '5 seconds'", "interval '0 seconds'")
    monkeypatch.setattr(recovery, "RECOVER_EXPIRED", statement)
    run = run_workflow(person(), "analysis_parallel", "[[text=x]]")
    do_jobs(2)
    lost = step_jobs(run)[1]
    for _ in range(lost.max_failures):
        assert Job.claim(lost.id, "gone", -1)
        assert jobs.recover_expired() == 1
    do_jobs()
    run = Run.get_by_id(run.id)
    assert (run.state, run.error_code, states(run)) == ("failed", "internal_error", ["succeeded", "failed"])
    jobs.retry(lost.id)
    do_jobs()
    run = Run.get_by_id(run.id)
    assert (run.state, states(run)) == ("succeeded", ["succeeded"] * 3)
    restarts = [event for event in events_of(run) if event["event"] == "restarted"]
    assert [(event["step_name"], event["branch_index"]) for event in restarts] == [("code", 1)]


def test_tokens_are_counted_once_per_attempt_and_a_message_once_per_run(person, run_workflow, do_jobs, fails_once):
    me = person()
    run = run_workflow(me, "fan", "Hi")
    do_jobs()
    fails_once(run)
    retry(me, run)
    do_jobs()
    rows = database.execute_sql(
        "select feature, sum(quantity) from usage_entry where tenant_id = %s group by feature", (run.tenant_id,)
    ).fetchall()
    counted, usage = {name: int(total) for name, total in rows}, Run.get_by_id(run.id).usage
    assert counted == {"messages": 1, **{name: usage[name] for name in ("input_tokens", "output_tokens")}}


def test_a_step_that_was_claimed_but_not_begun_when_the_run_ended_is_done_by_a_retry(
    person, run_workflow, do_jobs, monkeypatch
):
    me, begin = person(), ChatContext.begin
    run = run_workflow(me, "analysis_code", "[[text=x]]")
    do_jobs(1)

    def cancelled_first(*args, **more):
        runs.cancel(me, run.id)
        return begin(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(ChatContext, "begin", staticmethod(cancelled_first))
        do_jobs(1)
    assert (states(run), [job.state for job in step_jobs(run)]) == (["pending"], ["cancelled"])
    assert len(retry(me, run)) == 1
    do_jobs()
    assert (Run.get_by_id(run.id).state, states(run)) == ("succeeded", ["succeeded"] * 2)


def test_a_worker_that_comes_back_too_late_begins_no_step_that_another_one_has_done(person, run_workflow, do_jobs):
    run = run_workflow(person(), "analysis_code", "[[text=x]]")
    do_jobs(1)
    [step], [job] = WorkflowStep.of_run(run.id), step_jobs(run)
    zombie = Job.claim(job.id, "gone", -1)
    assert Job.claim(job.id, "successor", -1)
    with pytest.raises(LeaseLost):
        step.begin(zombie)
    assert states(run) == ["pending"]
    runtime.execute(jobs.WORKFLOW_STEP, actors.run_step, str(job.id))
    assert states(run)[0] == "succeeded"
    with pytest.raises(LeaseLost):
        step.begin(zombie)
    do_jobs()
    assert (Run.get_by_id(run.id).state, states(run)) == ("succeeded", ["succeeded"] * 2)


def test_a_branch_that_fails_while_another_one_is_taken_over_keeps_its_dead_job(
    person, run_workflow, do_jobs, fails_once, monkeypatch
):
    me, begin = person(), ChatContext.begin
    run = run_workflow(me, "fan", "Hi")
    do_jobs(2)
    _, failing, vanished = step_jobs(run)
    Job.claim(vanished.id, "gone", -1)

    def fails_meanwhile(*args, **more):
        context = begin(*args, **more)
        monkeypatch.setattr(ChatContext, "begin", begin)
        runtime.execute(jobs.WORKFLOW_STEP, actors.run_step, str(failing.id))
        return context

    monkeypatch.setattr(ChatContext, "begin", staticmethod(fails_meanwhile))
    runtime.execute(jobs.WORKFLOW_STEP, actors.run_step, str(vanished.id))
    assert (Run.get_by_id(run.id).state, Job.get_by_id(failing.id).state) == ("failed", "dead")
    fails_once(run)
    assert failing.id in retry(me, run)
    do_jobs()
    assert Run.get_by_id(run.id).state == "succeeded"


def test_an_operator_who_retries_before_the_run_has_failed_is_not_too_early(person, run_workflow, do_jobs, monkeypatch):
    statement = recovery.RECOVER_EXPIRED.replace("interval '5 seconds'", "interval '0 seconds'")
    monkeypatch.setattr(recovery, "RECOVER_EXPIRED", statement)
    run = run_workflow(person(), "analysis_code", "[[text=x]]")
    do_jobs(1)
    [lost] = step_jobs(run)
    Job.update(max_failures=1).where(Job.id == lost.id).execute()
    assert Job.claim(lost.id, "gone", -1) and jobs.recover_expired() == 1
    jobs.retry(lost.id)
    do_jobs()
    assert (Run.get_by_id(run.id).state, states(run)) == ("succeeded", ["succeeded"] * 2)
