"""Approvals over HTTP: who sees them, who decides, what a decision has to name, and how streams and chats end meanwhile."""

import json
import time

import gevent
import pytest

from edge import relay
from edge.schemas.approvals import ApprovalResponse
from models.auth.tenants import Tenant
from models.conversations.conversation import Conversation
from models.platform.audit import AuditEvent
from models.platform.database import transaction
from models.runs import progress
from models.runs.approvals import Approval
from models.runs.run import Run
from tests.support.approvals import DIGEST, decide, request, wait
from tests.support.crowd import crowd
from tests.support.routes import assert_envelope


@pytest.fixture
def waiting(signed, ask_as):
    """(headers of the owner, the owner, their waiting run, its approval)."""
    headers, user = signed()
    run, [approval] = wait(ask_as(user, "hello", "c1"))
    return headers, user, run, approval


@pytest.fixture
def answer(http):
    """answer(headers, approval, decision="approve", ...) -> the answer of a decision."""

    def send(headers, approval, decision="approve", call=None, **more):
        body = {"decision": decision, "digest": approval.digest, **more}
        path = f"/api/v1/runs/{approval.run_id}/approvals/{call or approval.call_id}"
        return http.simulate_post(path, headers=headers, json=body)

    return send


def test_a_waiting_run_shows_what_it_waits_for(http, waiting):
    headers, _, run, approval = waiting
    shown = http.simulate_get(f"/api/v1/runs/{run.id}", headers=headers).json
    assert (shown["state"], shown["approvals"][0]["digest"]) == ("waiting", approval.digest)
    [listed] = http.simulate_get(f"/api/v1/runs/{run.id}/approvals", headers=headers).json
    assert listed == shown["approvals"][0] == http.simulate_get("/api/v1/approvals", headers=headers).json["items"][0]
    ApprovalResponse.model_validate(listed, extra="forbid")


def test_a_decision_is_answered_with_the_approval_and_again_with_the_same(http, waiting, answer):
    headers, user, run, approval = waiting
    first = answer(headers, approval, reason="fine")
    assert first.status_code == 200
    assert (first.json["state"], first.json["decided_by"], first.json["note"]) == ("approved", str(user.id), "fine")
    assert answer(headers, approval, reason="again", call=str(approval.id)).json == first.json
    assert_envelope(answer(headers, approval, "deny"), 409, "approval_decided")
    assert http.simulate_get(f"/api/v1/runs/{run.id}", headers=headers).json["approvals"] == []
    [event] = AuditEvent.select().where(AuditEvent.action == "approval.approved")
    assert (event.actor, event.ip) == (f"user:{user.id}", "127.0.0.1")


def test_a_decision_about_something_else_than_what_was_shown_is_refused(waiting, answer):
    headers, _, _, approval = waiting
    refused = answer(headers, approval, digest=DIGEST)
    assert_envelope(refused, 409, "approval_changed")
    assert refused.json["details"]["approval_id"] == str(approval.id)
    assert Approval.get().state == "pending"


@pytest.mark.parametrize(
    "body",
    [
        {"decision": "maybe"},
        {"digest": "short"},
        {"reason": "x" * 2001},
        {"arguments": ["query"]},
        {"arguments": {}},
        {"arguments": {"query": 7}},
        {"arguments": {"query": "a", "more": "b"}},
        {"arguments": {"query": "x" * 100_001}},
        {"decision": "deny", "arguments": {"query": "a"}},
        {"reason": "\0"},
    ],
)
def test_a_malformed_decision_is_a_422_and_decides_nothing(waiting, answer, body):
    headers, _, _, approval = waiting
    assert_envelope(answer(headers, approval, **body), 422, "validation_error")
    assert Approval.get().state == "pending"


def test_arguments_that_do_not_fit_are_told_what_the_tool_wants(waiting, answer):
    headers, _, _, approval = waiting
    [problem] = answer(headers, approval, arguments={"query": 7}).json["details"]
    assert problem["loc"] == ["body", "arguments", "query"]
    assert problem["msg"] == 'Does not fit the tool\'s parameters, which say "type": "string" here.'


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"enum": ["a", "b"]}, 'which say "enum": ["a", "b"] here.'),
        ({"enum": ["x" * 1000] * 1000}, 'which say "enum" here.'),
        ({"anyOf": [{"type": "null"}]}, 'which say "type": "null" here.'),
        ({"const": "x" * 1000}, "x here."),
    ],
)
def test_a_rule_is_told_with_its_value_if_that_is_short(signed, ask_as, answer, rule, told):
    headers, user = signed()
    _, [approval] = wait(ask_as(user), request(parameters={"type": "object", "properties": {"query": rule}}))
    [problem] = answer(headers, approval, arguments={"query": "c"}).json["details"]
    assert problem["msg"].endswith(told) and len(problem["msg"]) < 300


def test_edited_arguments_that_fit_the_tool_are_kept(waiting, answer):
    headers, _, _, approval = waiting
    assert answer(headers, approval, arguments={"query": "harmless"}).json["edited_arguments"] == {"query": "harmless"}


REGEX = {"type": "object", "properties": {"query": {"pattern": "^(a+)+$"}}, "patternProperties": {"^(a+)+$": {}}}


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        {"type": 5},
        {"$ref": "https://127.0.0.1:9/schema.json"},
        {"$ref": "#"},
        {"properties": {"query": {"minLength": "x"}}},
    ],
)
def test_arguments_that_nothing_can_check_cannot_be_edited(signed, ask_as, answer, parameters):
    headers, user = signed()
    _, [approval] = wait(ask_as(user), request(parameters=parameters))
    assert_envelope(answer(headers, approval, arguments={"query": "a"}), 422)
    assert answer(headers, approval).status_code == 200


def test_the_schema_of_a_server_cannot_stop_the_process(signed, ask_as, answer):
    headers, user = signed()
    _, [approval] = wait(ask_as(user), request(parameters={**REGEX, "additionalProperties": False}))
    edited = {"query": "a" * 50 + "!", "a" * 50 + "!": 1}
    assert answer(headers, approval, arguments=edited).json["edited_arguments"] == edited


@pytest.mark.parametrize(
    ("schema", "value", "status"),
    [
        # two types, so they cannot be sorted
        ({"uniqueItems": True}, [item for number in range(4000) for item in (number, str(number))], 200),
        ({"allOf": [{"items": {"type": "string"}}] * 500}, [1] * 9000, 422),
        ({"$ref": "#/$defs/list"}, json.loads("[" * 25 + "1" + "]" * 25), 422),
        ({"items": {"properties": {"x": {"type": "integer"}}, "required": ["x"]}}, [{"x": 1}] * 4900, 200),
    ],
)
def test_a_check_of_arguments_is_bounded(signed, ask_as, answer, schema, value, status):
    headers, user = signed()
    branch = {"type": "array", "items": {"$ref": "#/$defs/list"}}
    parameters = {"properties": {"a": schema}, "$defs": {"list": {"anyOf": [branch, branch]}}}
    _, [approval] = wait(ask_as(user), request(parameters=parameters))
    began = time.monotonic()
    assert answer(headers, approval, arguments={"a": value}).status_code == status
    assert time.monotonic() - began < 8


def test_who_may_not_see_a_run_cannot_tell_its_approvals_from_none(http, signed, waiting, answer):
    _, _, run, approval = waiting
    colleague, _ = signed("member")
    stranger, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"))
    for headers in (colleague, stranger):
        assert_envelope(answer(headers, approval), 404, "approval_not_found")
        assert_envelope(http.simulate_get(f"/api/v1/runs/{run.id}/approvals", headers=headers), 404, "run_not_found")
        assert http.simulate_get("/api/v1/approvals", headers=headers).json["items"] == []
    assert Approval.get().state == "pending"


def test_a_viewer_decides_nothing_not_even_about_a_run_of_their_own(http, signed, ask_as, answer):
    headers, user = signed("viewer")
    run, [approval] = wait(ask_as(user))
    assert_envelope(answer(headers, approval), 403, "insufficient_scope")
    assert_envelope(http.simulate_get("/api/v1/approvals", headers=headers), 403)
    assert len(http.simulate_get(f"/api/v1/runs/{run.id}/approvals", headers=headers).json) == 1


def test_an_admin_decides_for_others_but_edits_nothing_of_theirs(signed, waiting, answer):
    _, user, _, approval = waiting
    headers, admin = signed("admin")
    assert_envelope(answer(headers, approval, arguments={"query": "mine"}), 403, "arguments_of_another")
    assert answer(headers, approval).json["decided_by"] == str(admin.id) != str(user.id)


def test_a_hundred_decisions_at_once_over_http_give_one_and_the_same_result(waiting, answer):
    headers, _, run, approval = waiting
    answers = crowd(40, lambda number: answer(headers, approval, "approve" if number % 2 else "deny"))
    accepted = [one.json for one in answers if one.status_code == 200]
    assert len(accepted) == 20 and all(one == accepted[0] for one in accepted)
    assert {one.json["error"] for one in answers if one.status_code != 200} == {"approval_decided"}
    assert Run.get_by_id(run.id).state == "queued"


def test_the_newest_of_two_calls_with_one_id_is_not_approved_by_a_late_repetition(person, ask, signed, answer, ask_as):
    """Some servers number their calls anew in each response."""
    headers, user = signed()
    run, [first] = wait(ask_as(user))
    assert answer(headers, first).status_code == 200
    _, [_, second] = wait(run, request(2), sequence=progress.first_sequence(2))
    assert answer(headers, first).json["id"] == str(first.id), "a repetition of the first decision"
    assert Approval.get_by_id(second.id).state == "pending"
    assert answer(headers, second).json["id"] == str(second.id)


# ---------------------------------------------------------------- chat and streams meanwhile


def test_a_chat_in_the_same_conversation_is_told_what_it_waits_for(http, waiting):
    headers, _, _run, approval = waiting
    refused = http.simulate_post("/api/v1/chat", headers=headers, json={"message": "and?", "conversation_id": "c1"})
    assert_envelope(refused, 409, "conversation_busy")
    assert refused.json["details"]["approvals"][0]["call_id"] == approval.call_id
    assert Conversation.get().message_count == 1


def test_waiting_for_the_answer_ends_as_soon_as_the_run_waits(hub, run, person):
    def pause():
        gevent.sleep(0.2)
        progress.send_waiting_or_log(wait(run)[0])

    greenlet = gevent.spawn(pause)
    with pytest.raises(relay.ApprovalRequired) as error:
        relay.wait(run, person(), 20, hub)
    greenlet.get()
    [approval] = Approval.select()
    assert error.value.details["run_id"] == str(run.id)
    assert error.value.details["sequence_number"] == 7
    assert [one["digest"] for one in error.value.details["approvals"]] == [approval.digest]
    assert error.value.headers["X-Run-Id"] == str(run.id)


def test_a_repeated_request_for_a_run_that_waits_is_answered_at_once(http, signed, ask_as, configure):
    headers, _user = signed()
    send = {"headers": {**headers, "Idempotency-Key": "k"}, "json": {"message": "hello"}}
    configure(chat_wait_seconds=0.01)
    assert http.simulate_post("/api/v1/chat", **send).status_code == 504
    wait(Run.get())
    configure(chat_wait_seconds=20)
    assert_envelope(http.simulate_post("/api/v1/chat", **send), 409, "approval_required")


def test_a_stream_ends_with_the_event_of_the_wait(follow, hub, run, write):
    follower = follow(hub)
    write(1, 2)
    progress.send_waiting_or_log(wait(run)[0])
    assert follower.numbers() == [1, 2, 7]


def test_the_event_of_a_wait_that_redis_never_got_comes_from_postgres(follow, make_hub, run, write):
    follower = follow(make_hub(tick_seconds=0.05))
    write(1)
    waiting_run, _ = wait(run)
    assert follower.numbers() == [1, 7]
    [last] = [entry for batch in relay.batches(waiting_run, 1) for entry in batch]
    assert (last.sequence, last.waits) == (7, True) and json.loads(last.data) == waiting_run.waiting


def test_a_stream_ends_with_a_wait_after_which_another_step_has_gone_on(follow_run, make_hub, run, write):
    waiting_run, _ = wait(run)
    progress.send_waiting_or_log(waiting_run)
    write(8, 9)
    assert follow_run(make_hub(tick_seconds=0.05), run, 0).numbers() == [7, 8, 9]


def test_waiting_for_the_answer_ends_too_when_another_step_has_gone_on(make_hub, run, person, write):
    waiting_run, [approval] = wait(run)
    progress.send_waiting_or_log(waiting_run)
    write(8)
    with pytest.raises(relay.ApprovalRequired) as error:
        relay.wait(run, person(), 20, make_hub(tick_seconds=0.05))
    assert [one["digest"] for one in error.value.details["approvals"]] == [approval.digest]


def test_nobody_who_knows_of_the_wait_stays_for_days_either_when_another_step_goes_on(
    follow_run, make_hub, run, write, monkeypatch
):
    monkeypatch.setattr(relay, "PAUSE_SECONDS", 0.3)
    waiting_run, _ = wait(run)
    follower = follow_run(make_hub(tick_seconds=0.05), waiting_run, 7)
    write(8)
    assert follower.numbers() == [8]


def test_a_client_that_knows_of_the_wait_stays_and_sees_the_run_go_on(follow_run, hub, run, person, write):
    waiting_run, [approval] = wait(run)
    progress.send_waiting_or_log(waiting_run)
    follower = follow_run(hub, waiting_run, 7)
    decide(person("admin"), approval)
    write(1_000_001, 1_000_002)
    with transaction():
        Run.get_by_id(run.id).finish("succeeded", {"kind": "run_item"}, 1_000_003)
    progress.send_terminal(Run.get_by_id(run.id))
    assert follower.numbers() == [1_000_001, 1_000_002, 1_000_003]


def test_nobody_stays_for_days(follow_run, make_hub, run, monkeypatch):
    monkeypatch.setattr(relay, "PAUSE_SECONDS", 0.1)
    waiting_run, _ = wait(run)
    assert follow_run(make_hub(tick_seconds=0.05), waiting_run, 7).numbers() == []


def test_a_wait_that_is_over_ends_no_stream(follow_run, hub, run, person, write):
    waiting_run, [approval] = wait(run)
    progress.send_waiting_or_log(waiting_run)
    decide(person("admin"), approval)
    follower = follow_run(hub, Run.get_by_id(run.id), 0)
    write(1_000_001)
    again, _ = wait(run, sequence=1_000_002)
    progress.send_waiting_or_log(again)
    assert follower.numbers() == [7, 1_000_001, 1_000_002], "the second wait ends it"


def test_waiting_for_the_answer_of_a_run_that_goes_on_again_gives_the_answer(hub, run, person):
    waiting_run, [approval] = wait(run)
    progress.send_waiting_or_log(waiting_run)
    decide(person("admin"), approval)
    waiter = gevent.spawn(relay.wait, Run.get_by_id(run.id), person(), 20, hub)
    gevent.sleep(0.1)
    with transaction():
        Run.get_by_id(run.id).finish("succeeded", {"kind": "run_item"}, 1_000_003)
    progress.send_terminal(Run.get_by_id(run.id))
    assert waiter.get()["sequence_number"] == 1_000_003


@pytest.fixture
def follow_run():
    """follow_run(hub, run, after) -> a Follower of this state of a run, already registered with the hub."""
    from tests.edge.runs.conftest import Follower

    def start(hub, run, after):
        follower = Follower(hub, run, after)
        gevent.sleep(0.05)
        return follower

    return start
