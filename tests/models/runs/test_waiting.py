"""Runs that wait for a person: nobody works on them, one decision counts, and they go on or end once."""

from datetime import timedelta

import pytest

from models.conversations.asking import ConversationBusy
from models.conversations.conversation import Conversation
from models.jobs import lanes, recovery
from models.jobs.ledger import Job, LeaseLost
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.principal import Root
from models.runs import progress, tool_policy, waiting
from models.runs.approvals import (
    Approval,
    ApprovalDecided,
    ApprovalNeedsAdmin,
    ApprovalNotFound,
    ApprovalRequest,
    ArgumentsAreTheOwners,
)
from models.runs.run import Run
from tests.support.approvals import claim, decide, job_of, request, wait
from tests.support.crowd import crowd
from workers import jobs, runtime
from workers.jobs import CHAT_RUN


def states(run):
    run = Run.get_by_id(run.id)
    return run.state, job_of(run).state, [approval.state for approval in Approval.of_run(run.id)]


def test_a_waiting_run_has_no_worker_no_lease_and_no_place_in_its_lane(person, ask):
    run, [approval] = wait(ask(person()))
    job = job_of(run)
    assert states(run) == ("waiting", "waiting", ["pending"])
    assert (job.owner, job.lease_until, job.finished_at) == (None, None, None)
    assert (approval.arguments, approval.needs_admin, approval.user_id) == ({"query": "secret"}, False, run.user_id)
    assert lanes.repair() == 1 and lanes.Lane(job.queue, job.tenant_id).free() == 64


def test_the_runtime_neither_finishes_nor_fails_a_job_that_waits_and_gives_its_place_away(person, ask, configure):
    configure(tenant_jobs_at_once=1)
    principal = person()
    first, second = ask(principal), ask(principal)
    assert job_of(second).sent_at is None

    def pause(lease):
        with transaction():
            waiting.begin(lease.job, Run.get_by_id(first.id), [request()], 3)

    runtime.execute(CHAT_RUN, pause, str(job_of(first).id))
    assert (job_of(first).state, job_of(first).failures) == ("waiting", 0)
    assert job_of(second).sent_at is not None


def test_nothing_of_the_scheduler_touches_a_job_that_waits(person, ask):
    run, _ = wait(ask(person()))
    Job.update(due_at=now() - timedelta(days=3), sent_at=now() - timedelta(days=3)).execute()
    assert recovery.recover_expired() == [] == recovery.take_unclaimed(["agents"], 0)
    assert (jobs.resend_unclaimed(), jobs.take_turns(), Job.purge(0)) == (0, 0, 0)
    assert claim(run) is None
    assert states(run) == ("waiting", "waiting", ["pending"])


def test_a_zombie_cannot_make_a_run_wait(person, ask):
    run = ask(person())
    zombie = claim(run)
    Job.update(lease_until=now() - timedelta(seconds=1)).execute()
    claim(run, "successor")
    with pytest.raises(LeaseLost), transaction():
        waiting.begin(zombie, run, [request()], 7)
    assert (Approval.select().count(), job_of(run).owner) == (0, "successor")


def test_a_cancel_that_came_first_wins(person, ask):
    run = ask(person())
    job = claim(run)
    Run.cancel(person("admin"), run.id)
    with transaction():
        assert not waiting.begin(job, run, [request()], 7)
    assert Approval.select().count() == 0 and job_of(run).state == "running", "its worker is about to see the cancel"


def test_a_decision_lets_the_run_go_on_with_the_next_epoch(person, ask):
    principal = person()
    run, [approval] = wait(ask(principal))
    job = decide(principal, approval, "denied", note="Not today.")
    assert states(run) == ("queued", "queued", ["denied"])
    decided = Approval.get()
    assert (decided.decided_by, decided.note) == (principal.user_id, "Not today.")
    assert job.failures == 0 and claim(run).epoch == 2


def test_a_run_goes_on_when_all_its_calls_are_decided(person, ask):
    principal = person()
    run, [first, second] = wait(ask(principal), request(2), request(3))
    assert decide(principal, second) is None
    assert states(run) == ("waiting", "waiting", ["pending", "approved"])
    assert decide(principal, first, "denied").id == job_of(run).id


def test_a_process_that_dies_after_a_decision_and_before_it_sends_the_job_delays_the_run_only(person, ask):
    principal = person()
    run, [approval] = wait(ask(principal))
    decide(principal, approval)  # nobody sends the job
    Job.update(due_at=now() - timedelta(minutes=2), sent_at=now() - timedelta(minutes=2)).execute()
    assert jobs.resend_unclaimed() == 1
    assert claim(run).epoch == 2


def test_of_a_hundred_decisions_at_once_one_counts_and_wakes_the_job_once(person, ask):
    principal = person()
    run, [approval] = wait(ask(principal))

    def act(number):
        try:
            return decide(principal, approval, "approved" if number % 2 else "denied")
        except ApprovalDecided as error:
            return error.details["state"]

    results = crowd(100, act)
    [winner] = {result for result in results if isinstance(result, str)}
    assert winner == Approval.get().state and results.count(winner) == 50
    assert len([result for result in results if isinstance(result, Job)]) == 1
    assert AuditEvent.select().where(AuditEvent.action == f"approval.{winner}").count() == 1
    assert states(run) == ("queued", "queued", [winner])


def test_the_same_decision_again_changes_nothing_and_another_one_is_refused(person, ask):
    principal = person()
    _, [approval] = wait(ask(principal))
    decide(principal, approval, edited={"query": "safe"})
    assert decide(principal, approval, edited={"query": "safe"}) is None
    for state, edited in (("denied", None), ("approved", None), ("approved", {"query": "other"})):
        with pytest.raises(ApprovalDecided):
            decide(principal, approval, state, edited=edited)
    assert Approval.get().edited == {"query": "safe"}
    [event] = AuditEvent.select().where(AuditEvent.action.startswith("approval."))
    assert (event.actor, event.details["edited"]) == (principal.subject, True)


def test_a_cancel_of_a_waiting_run_ends_it_at_once(person, ask):
    principal = person()
    run, [approval] = wait(ask(principal))
    assert Run.cancel(principal, run.id).state == "cancelled"
    assert states(run) == ("cancelled", "cancelled", ["cancelled"])
    assert progress.read(run.id)[-1].terminal
    with pytest.raises(ApprovalDecided):
        decide(principal, approval)
    assert states(run) == ("cancelled", "cancelled", ["cancelled"])


def test_an_operator_who_cancels_a_waiting_job_ends_its_run(person, ask):
    run, _ = wait(ask(person()))
    assert jobs.cancel(job_of(run).id).state == "cancelled"
    assert states(run) == ("cancelled", "cancelled", ["cancelled"])


def test_a_cancel_and_a_decision_at_the_same_moment_leave_one_outcome(person, ask):
    principal = person()
    for _ in range(5):
        run, [approval] = wait(ask(principal))

        def act(number, run=run, approval=approval):
            try:
                return Run.cancel(principal, run.id) if number else decide(principal, approval)
            except ApprovalDecided as error:
                return error

        crowd(2, act)
        run_state, job_state, [approval_state] = states(run)
        assert (run_state, job_state) == ("cancelled", "cancelled")
        assert approval_state in ("approved", "cancelled")


def test_an_operators_retry_of_a_cancelled_run_may_ask_again(person, ask):
    principal = person()
    run, _ = wait(ask(principal))
    Run.cancel(principal, run.id)
    jobs.retry(job_of(run).id)
    run, approvals = wait(run, sequence=progress.first_sequence(2))
    assert [approval.state for approval in approvals] == ["cancelled", "pending"]
    assert approvals[0].digest != approvals[1].digest, "an answer to the first question is none to the second"
    assert decide(principal, approvals[1])


def test_a_deleted_conversation_takes_its_approvals_along(person, ask):
    principal = person("admin")
    run, _ = wait(ask(principal, "hello", "c1"))
    Conversation.remove(principal, "c1")
    assert (Approval.select().count(), Run.select().count(), Job.get().state) == (0, 0, "cancelled")
    assert progress.read(run.id)[-1].terminal


def test_a_job_whose_run_is_gone_does_not_wait_for_ever(person, ask):
    principal = person()
    run, _ = wait(ask(principal))
    other, _ = wait(ask(principal))
    Run.delete().where(Run.id == run.id).execute()  # as a deletion that is cut after its first transaction leaves it
    with transaction():
        assert (waiting.cancel_orphans(), waiting.cancel_orphans()) == (1, 0)
    assert job_of(run).state == "cancelled" and states(other) == ("waiting", "waiting", ["pending"])


@pytest.mark.parametrize("state", ["approved", "denied"])
def test_a_deletion_and_a_decision_at_the_same_moment_do_not_block_each_other(person, ask, state):
    principal = person("admin")
    for number in range(5):
        key = f"c{number}"
        _, [approval] = wait(ask(principal, "hello", key))

        def act(chosen, key=key, approval=approval):
            try:
                return Conversation.remove(principal, key) if chosen else decide(principal, approval, state)
            except (ApprovalDecided, ApprovalNotFound) as error:
                return error

        crowd(2, act)
    assert Run.select().count() == Approval.select().count() == 0
    assert {job.state for job in Job.select()} == {"cancelled"}


def test_a_waiting_run_keeps_its_conversation_busy_and_says_for_what(person, ask):
    principal = person()
    run, [approval] = wait(ask(principal, "hello", "c1"))
    with pytest.raises(ConversationBusy) as error:
        ask(principal, "again", "c1")
    assert error.value.details["run_id"] == str(run.id)
    assert [one["digest"] for one in error.value.details["approvals"]] == [approval.digest]


def test_an_approval_that_nobody_gave_in_time_expires_and_the_run_goes_on(person, ask):
    principal = person()
    run, [approval, _] = wait(ask(principal), request(2), request(3))
    other, _ = wait(ask(principal))
    assert jobs.expire_approvals() == 0
    Approval.update(expires_at=now() - timedelta(seconds=1)).where(Approval.run_id == run.id).execute()
    with pytest.raises(ApprovalDecided):
        decide(principal, approval)
    assert jobs.expire_approvals() == 1
    assert states(run) == ("queued", "queued", ["expired", "expired"])
    assert states(other) == ("waiting", "waiting", ["pending"])
    assert AuditEvent.select().where(AuditEvent.action == "approval.expired").count() == 2


def test_what_a_model_may_write_into_arguments_can_be_asked_about(person, ask):
    odd = {"query": "a\0b\ud800", "number": 2**80, "nested": [[None, 1.5, {"\0": True}]]}
    principal = person()
    run, [approval] = wait(ask(principal), ApprovalRequest(2, "call\0", "any", odd))
    assert approval.arguments["query"] == "a\ufffdb\ufffd" and approval.arguments["number"] == 2**80
    progress.send_waiting_or_log(run)
    assert progress.read(run.id)[0].waits and decide(principal, approval)


def test_the_hours_are_those_of_the_setting(person, ask, configure):
    configure(approval_hours=2)
    _, [approval] = wait(ask(person()))
    assert timedelta(hours=1.9) < approval.expires_at - now() <= timedelta(hours=2)


def test_the_event_of_the_wait_may_be_sent_again_and_never_after_later_ones(person, ask):
    run, [approval] = wait(ask(person()))
    progress.send_waiting_or_log(run)
    progress.send_waiting_or_log(run)
    [entry] = progress.read(run.id)
    assert (entry.sequence, entry.waits, entry.terminal) == (7, True, False)
    assert run.waiting["payload"]["approvals"][0]["digest"] == approval.digest
    other, _ = wait(ask(person()))
    progress.append(other.id, [(progress.first_sequence(2), "lifecycle", b"{}")]).wait()
    progress.send_waiting_or_log(other)
    assert [entry.waits for entry in progress.read(other.id)] == [False]


def test_decided_approvals_are_purged_with_the_run_events_and_open_ones_are_not(person, ask):
    principal = person()
    decide(principal, wait(ask(principal))[1][0])
    wait(ask(principal))
    Approval.update(created_at=now() - timedelta(days=200)).execute()
    assert Approval.purge(1) == 0
    Approval.update(decided_at=now() - timedelta(days=2)).where(Approval.state != "pending").execute()
    assert (Approval.purge(1), Approval.purge(1)) == (1, 0)
    assert Approval.get().state == "pending"


# ---------------------------------------------------------------- who may decide


@pytest.fixture
def ruled(tenant):
    def make(rule, tool="search_conversations"):
        with transaction():
            tool_policy.set_rule(tenant.id, tool, rule, by=Root("test"), reason="test")

    return make


def test_a_tenant_can_want_an_admin_who_did_not_ask(person, ask, ruled):
    ruled("admin")
    asker, member, admin = person("admin"), person(), person("admin")
    _, [approval] = wait(ask(asker))
    assert approval.needs_admin
    for principal in (asker, member):
        with pytest.raises(ApprovalNeedsAdmin):
            decide(principal, approval)
    assert [Approval.page(principal, 10).items for principal in (asker, member)] == [[], []]
    assert [one.id for one in Approval.page(admin, 10).items] == [approval.id]
    assert decide(admin, approval)


def test_a_rule_that_is_newer_than_the_question_counts_and_one_that_was_cleared_too(person, ask, ruled, tenant):
    asker, admin = person("admin"), person("admin")
    _, [before] = wait(ask(asker))
    ruled("admin")
    _, [since] = wait(ask(asker))
    with pytest.raises(ApprovalNeedsAdmin):
        decide(asker, before)
    assert Approval.page(asker, 10).items == [] and len(Approval.page(admin, 10).items) == 2
    with transaction():
        tool_policy.clear_rule(tenant.id, "search_conversations", by=Root("test"), reason="test")
    assert decide(asker, before)
    with pytest.raises(ApprovalNeedsAdmin):
        decide(asker, since)
    assert decide(admin, since)


def test_an_admin_decides_about_anothers_call_but_does_not_change_what_it_does(person, ask):
    owner, admin = person(), person("admin")
    _, [approval] = wait(ask(owner))
    with pytest.raises(ArgumentsAreTheOwners):
        decide(admin, approval, edited={"query": "mine"})
    assert decide(admin, approval)


def test_the_open_approvals_are_listed_in_pages_without_loss(person, ask):
    principal, other = person(), person()
    ids = [str(wait(ask(principal))[1][0].id) for _ in range(5)]
    wait(ask(other))
    seen, cursor = [], None
    while True:
        page = Approval.page(principal, 2, cursor)
        seen += [str(one.id) for one in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == ids[::-1]
    assert len(Approval.page(person("admin"), 10).items) == 6
    assert Approval.page(person("viewer"), 10).items == []
