"""A chat's job that waits for a person: what was done stays done, and only what was approved is called, once."""

import pytest

from models.conversations.conversation import Message
from models.jobs.ledger import Job
from models.platform.database import database, transaction
from models.platform.principal import Root
from models.runs import progress, steps, tool_policy
from models.runs.approvals import Approval
from models.runs.run import Run
from tests.support.approvals import decide, job_of
from workers import chat, jobs, runtime
from workers.agents import loop
from workers.agents.catalog import Agent, Catalog, Tool
from workers.agents.declarations import NO_PARAMETERS
from workers.agents.journal import RunJournal
from workers.jobs import CHAT_RUN

pytestmark = pytest.mark.usefixtures("provider")
PATH = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
    "additionalProperties": False,
}


class Killed(BaseException):
    """Stands for the end of a process: nothing of the job is recorded after it."""


@pytest.fixture
def made(monkeypatch):
    """What the tools were called with, in order. `clock` never asks, `delete` asks for paths outside /tmp, `pay` always."""
    calls = []

    def record(name):
        return lambda context, **arguments: calls.append((name, *arguments.values())) or "done"

    def tool(name, parameters=NO_PARAMETERS, **more):
        return Tool(name, "test", name, parameters, function=record(name), **more)

    declared = {
        "clock": tool("clock"),
        "delete": tool("delete", PATH, approval=lambda values: not values["path"].startswith("/tmp/")),
        "pay": tool("pay", approval=True, repeatable=False, when_cut="person"),
    }
    helper = Agent("triage", "Helper", "Helps.", "Help.", tools=tuple(declared), agent_tools=("payer",), default=True)
    payer = Agent("payer", "Payer", "Pays.", "Pay.", tools=("pay",))
    catalog = Catalog([helper, payer], declared)
    monkeypatch.setattr(loop, "catalog", lambda: catalog)
    return calls


@pytest.fixture
def principal(person):
    return person()


@pytest.fixture
def asked(principal, ask, configure, made):
    """asked(message) -> the run of a question."""
    configure(job_lease_seconds=-1, openai_wire="responses")  # a killed worker's job can be claimed again at once
    return lambda message: ask(principal, message)


def attempt(run):
    """One claim of the run's job by a worker. The run as it is then."""
    runtime.execute(CHAT_RUN, chat.run_chat, str(job_of(run).id))
    return Run.get_by_id(run.id)


def open_approvals(run):
    return Approval.of_run(run.id, only_open=True)


def test_a_call_waits_and_what_was_done_before_is_not_done_again(asked, made, principal, provider, stats):
    before = stats(provider)["responses"]
    run = attempt(asked('[[tool=clock]] [[tool=delete {"path": "/tmp/a"}]] [[tool=delete {"path": "/etc"}]]'))
    assert run.state == job_of(run).state == "waiting"
    assert sorted(made) == [("clock",), ("delete", "/tmp/a")]
    [approval] = open_approvals(run)
    assert (approval.tool_name, approval.arguments, approval.reason) == ("delete", {"path": "/etc"}, "tool")
    assert progress.read(run.id)[-1].waits and run.waiting_sequence == progress.read(run.id)[-1].sequence
    decide(principal, approval)
    run = attempt(run)
    assert (run.state, len(made), made[-1]) == ("succeeded", 3, ("delete", "/etc"))
    assert stats(provider)["responses"] - before == 2 == run.usage["requests"]


def test_the_tool_is_called_with_the_edited_arguments(asked, made, principal):
    run = attempt(asked('[[tool=delete {"path": "/etc"}]]'))
    decide(principal, open_approvals(run)[0], edited={"path": "/tmp/b"})
    assert attempt(run).state == "succeeded" and made == [("delete", "/tmp/b")]


@pytest.mark.parametrize(("state", "text"), [("denied", "too dear"), ("expired", "nobody decided in time")])
def test_the_model_is_told_why_a_call_was_not_made(asked, made, principal, state, text):
    run = attempt(asked("[[tool=pay echo_history]]"))
    [approval] = open_approvals(run)
    if state == "denied":
        decide(principal, approval, state, note="too dear")
    else:
        Approval.update(expires_at=approval.created_at).execute()
        jobs.expire_approvals()
    run = attempt(run)
    assert run.state == "succeeded" and made == [] and text in run.result["response"]


def test_a_tenants_rule_makes_any_tool_wait_and_what_was_denied_stays_denied_without_the_rule(asked, made, principal):
    with transaction():
        tool_policy.set_rule(principal.tenant_id, "clock", "always", by=Root("test"), reason="test")
    run = attempt(asked("[[tool=clock]]"))
    decide(principal, open_approvals(run)[0], "denied")
    with transaction():
        tool_policy.clear_rule(principal.tenant_id, "clock", by=Root("test"), reason="test")
    assert attempt(run).state == "succeeded" and made == []
    assert attempt(asked("[[tool=clock]]")).state == "succeeded" and made == [("clock",)]


def test_a_worker_that_dies_after_the_commit_loses_only_an_event_that_postgres_has(asked, principal, monkeypatch):
    def die(run):
        raise Killed

    run = asked("[[tool=pay]]")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(progress, "send_waiting_or_log", die)
        attempt(run)
    run = Run.get_by_id(run.id)
    assert (run.state, job_of(run).state) == ("waiting", "waiting")
    assert run.waiting_sequence > progress.read(run.id)[-1].sequence
    decide(principal, open_approvals(run)[0])
    assert attempt(run).state == "succeeded"


def test_a_worker_that_dies_before_the_commit_leaves_no_approval_and_the_next_one_asks(asked, made, monkeypatch):
    def die(*args):
        raise Killed

    run = asked("[[tool=clock]] [[tool=pay]]")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tool_policy, "of_tenant", lambda tenant_id: {})
        patch.setattr("models.runs.waiting._ask", die)
        attempt(run)
    assert (job_of(run).state, Approval.select().count()) == ("running", 0)
    assert attempt(run).state == "waiting" and len(open_approvals(run)) == 1 and made == [("clock",)]


def test_a_cancel_during_the_last_moments_wins_over_the_wait(asked, principal, monkeypatch):
    run, begin = asked("[[tool=pay]]"), chat.waiting.begin

    def cancelled_first(*args):
        Job.update(cancel_requested=True).execute()
        return begin(*args)

    monkeypatch.setattr(chat.waiting, "begin", cancelled_first)
    assert attempt(run).state == "cancelled"
    assert (job_of(run).state, Approval.select().count()) == ("cancelled", 0)


def test_a_payment_that_was_cut_is_asked_about_each_time(asked, made, principal, monkeypatch):
    save = RunJournal.save

    def die_when_it_is_done(journal, step):
        if step.kind == "tool" and step.is_finished:
            raise Killed
        save(journal, step)

    run = attempt(asked("[[tool=pay]]"))
    decide(principal, open_approvals(run)[0])
    for number in (1, 2):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(RunJournal, "save", die_when_it_is_done)
            attempt(run)
        assert attempt(run).state == "waiting" and made == [("pay",)] * number
        [approval] = open_approvals(run)
        assert approval.reason == "cut"
        decide(principal, approval)
    assert attempt(run).state == "succeeded" and made == [("pay",)] * 3
    assert [approval.state for approval in Approval.of_run(run.id)] == ["approved"] * 3


def test_a_call_of_an_agent_that_was_asked_waits_as_well(asked, made, principal):
    run = attempt(asked('[[tool=ask_payer {"input": "[[tool=pay]]"}]]'))
    [approval] = open_approvals(run)
    assert (run.state, approval.tool_name, made) == ("waiting", "pay", [])
    assert approval.scope
    decide(principal, approval)
    assert attempt(run).state == "succeeded" and made == [("pay",)]


def test_a_decision_counts_for_the_call_that_was_shown_even_if_the_journal_is_gone(asked, made, principal):
    run = attempt(asked('[[tool=delete {"path": "/etc"}]]'))
    decide(principal, open_approvals(run)[0])
    database.execute_sql("delete from run_step")
    Message.update(content='[[tool=delete {"path": "/home"}]]').execute()
    run = attempt(run)
    assert (run.state, made) == ("waiting", [])
    [approval] = open_approvals(run)
    assert approval.arguments == {"path": "/home"}
    decide(principal, approval)
    assert attempt(run).state == "succeeded" and made == [("delete", "/home")]


def test_nothing_is_purged_that_a_waiting_run_goes_on_from(asked, made, principal):
    run = attempt(asked("[[tool=clock tool=pay tool=pay]]"))
    decide(principal, open_approvals(run)[0])
    assert steps.purge(0) == 0 == Approval.purge(0)
    decide(principal, open_approvals(run)[0])
    assert attempt(run).state == "succeeded" and made == [("clock",), ("pay",), ("pay",)]
    assert steps.purge(0) == 5 and Approval.purge(0) == 2
