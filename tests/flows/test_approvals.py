"""Runs that wait for a person, with real processes: over a restart of everything, and each way in which a wait ends."""

import contextlib
import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from devstack import chat
from tests.flows.conftest import frames
from tests.flows.test_chat import assert_complete

SEARCH = '[[tool=search_conversations {"query": "%s"}]]'
PEOPLE_PASSWORD = "violet tractor umbrella"


@pytest.fixture(scope="module")
def rules(live_stack):
    """In the demo tenant, calls of the two tools that run here are approved."""
    tools = ("get_current_time", "search_conversations")
    for tool in tools:
        live_stack.stack.run("-m", "models", "tools", "set", "demo", tool, "always", "--reason", "test")
    yield
    for tool in tools:
        live_stack.stack.run("-m", "models", "tools", "clear", "demo", tool, "--reason", "test")


@pytest.fixture
def ruled(rules, live):
    return live


def wait_for_a_person(live, message, **more):
    """(run id, events) of a chat that asks for an approval: the stream has ended, the run has not."""
    with live.chat(message, **more) as (run_id, stream):
        events = list(stream)
    assert not any(event["is_terminal"] for _, event in events)
    assert events[-1][1]["event"] == "approval_requested"
    return run_id, events


def asked(events):
    return events[-1][1]["payload"]["approvals"]


def decide(live, run_id, approval, decision="approve", call=None, **more):
    body = {"decision": decision, "digest": approval["digest"], **more}
    return live.http.post(f"/api/v1/runs/{run_id}/approvals/{call or approval['call_id']}", json=body)


def rest(live, run_id, events):
    """The events after those that the client has, to the end of the run."""
    with live.resume(run_id, events[-1][0]) as stream:
        more = list(stream)
    assert_complete([*events, *more])
    return more


def outputs(events):
    return [event["payload"]["output"] for _, event in events if event["run_item_name"] == "tool_output"]


@pytest.mark.parametrize(("is_allowed", "told"), [(True, "It is 20"), (False, "did not allow this call")])
def test_the_chat_of_the_terminal_asks_the_person_there(ruled, monkeypatch, is_allowed, told):
    monkeypatch.setattr(chat.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(chat.Confirm, "ask", lambda *_, **__: is_allowed)
    stream = chat.ResumableStream(ruled.http)
    for event in stream.events({"message": "What time is it?"}):
        if event["event"] == "approval_requested":
            chat.decide(ruled.http, stream.run_id, event["payload"]["approvals"])
        if event["is_terminal"]:
            break
    assert told in event["response_text"]


def test_without_a_terminal_nobody_is_asked(ruled, monkeypatch):
    monkeypatch.setattr(chat.sys.stdin, "isatty", lambda: False, raising=False)
    run_id, events = wait_for_a_person(ruled, "What time is it?")
    with pytest.raises(SystemExit, match=r"get_current_time \{\} has to be approved"):
        chat.decide(ruled.http, run_id, asked(events))
    assert ruled.run(run_id)["state"] == "waiting"
    ruled.http.post(f"/api/v1/runs/{run_id}/cancel")


def test_a_run_that_waits_survives_a_restart_of_everything(ruled):
    live = ruled
    run_id, events = wait_for_a_person(live, "What time is it?")
    [row] = live.sql("select state, owner, lease_until, epoch from job where run_id = %s", run_id)
    assert row == ("waiting", None, None, 1)
    for process in live.processes.values():
        process.kill()
    for process in live.processes.values():
        process.wait()
    for part in ("valkey", "postgres"):
        live.stack.parts[part].restart()
    live.revive()
    live.wait_ready()
    assert live.run(run_id)["state"] == "waiting"
    [approval] = live.run(run_id)["approvals"]
    assert approval["digest"] == asked(events)[0]["digest"]
    assert decide(live, run_id, approval).status_code == 200
    more = rest(live, run_id, events)
    assert "UTC" in more[-1][1]["response_text"] and len(outputs(more)) == 1
    run = live.run(run_id)
    assert (run["state"], run["usage"]["requests"], run["approvals"]) == ("succeeded", 2, [])


def test_the_event_of_a_wait_comes_from_postgres_if_redis_has_lost_the_stream(ruled):
    run_id, events = wait_for_a_person(ruled, "What time is it?")
    ruled.redis().delete(f"run:{run_id}")
    with ruled.resume(run_id) as stream:
        assert list(stream) == events[-1:]
    decide(ruled, run_id, asked(events)[0])
    assert rest(ruled, run_id, events)[-1][1]["is_terminal"]


def test_a_client_that_is_still_there_sees_the_run_go_on(ruled):
    run_id, events = wait_for_a_person(ruled, "What time is it?")
    with ThreadPoolExecutor(1) as pool, ruled.resume(run_id, events[-1][0]) as stream:
        decision = pool.submit(decide, ruled, run_id, asked(events)[0])
        more = list(stream)
        assert decision.result(20).status_code == 200
    assert_complete([*events, *more])


def test_the_tool_gets_the_arguments_that_the_person_has_edited(ruled):
    word = f"w{uuid.uuid4().hex}"
    with ruled.chat(f"[[text=noted]] {word}") as (_, stream):
        list(stream)
    run_id, events = wait_for_a_person(ruled, SEARCH % "nothing-has-this-word")
    refused = decide(ruled, run_id, asked(events)[0], arguments={"wrong": word})
    assert refused.status_code == 422
    answer = decide(ruled, run_id, asked(events)[0], arguments={"query": word})
    assert answer.json()["edited_arguments"] == {"query": word}
    [output] = outputs(rest(ruled, run_id, events))
    assert word in output


def test_the_model_reads_why_a_call_was_denied(ruled):
    run_id, events = wait_for_a_person(ruled, "[[tool=get_current_time echo_history]]")
    assert decide(ruled, run_id, asked(events)[0], "deny", reason="Clocks are forbidden.").status_code == 200
    more = rest(ruled, run_id, events)
    seen = json.loads(more[-1][1]["response_text"])
    assert "Clocks are forbidden." in next(item["text"] for item in seen if item["role"] == "tool")


def test_the_model_is_told_that_nobody_decided_in_time(ruled):
    run_id, events = wait_for_a_person(ruled, "[[tool=get_current_time echo_history]]")
    ruled.sql("update approval set expires_at = now() - interval '1 second' where run_id = %s", run_id)
    more = rest(ruled, run_id, events)
    assert "nobody decided" in more[-1][1]["response_text"]
    assert decide(ruled, run_id, asked(events)[0]).json()["error"] == "approval_decided"


def test_a_cancel_ends_a_run_that_waits_at_once(ruled):
    run_id, events = wait_for_a_person(ruled, "What time is it?")
    assert ruled.http.post(f"/api/v1/runs/{run_id}/cancel").json()["state"] == "cancelled"
    more = rest(ruled, run_id, events)
    assert [event["event"] for _, event in more] == ["cancelled"]
    assert decide(ruled, run_id, asked(events)[0]).status_code == 409


def test_parallel_calls_wait_for_all_their_decisions_and_run_once(ruled):
    message = '[[tool=search_conversations {"query": "one"}]] [[tool=search_conversations {"query": "two"}]]'
    run_id, events = wait_for_a_person(ruled, message)
    first, second = asked(events)
    assert decide(ruled, run_id, first).status_code == 200
    assert ruled.run(run_id)["state"] == "waiting"
    with ThreadPoolExecutor(8) as pool:
        decisions = [pool.submit(decide, ruled, run_id, second, word) for word in ["approve", "deny"] * 4]
        statuses = sorted(decision.result(30).status_code for decision in decisions)
    assert statuses == [200] * 4 + [409] * 4
    assert len(outputs(rest(ruled, run_id, events))) == 2
    assert ruled.sql("select epoch from job where run_id = %s", run_id) == [(2,)]


def test_a_chat_that_waits_for_its_answer_is_told_to_decide(ruled):
    conversation = str(uuid.uuid4())
    question = {"message": "What time is it?", "conversation_id": conversation}
    answer = ruled.http.post("/api/v1/chat", json=question)
    assert (answer.status_code, answer.json()["error"]) == (409, "approval_required")
    details = answer.json()["details"]
    busy = ruled.http.post("/api/v1/chat", json=question)
    assert (busy.status_code, busy.json()["error"]) == (409, "conversation_busy")
    assert busy.json()["details"]["approvals"] == details["approvals"]
    assert decide(ruled, details["run_id"], details["approvals"][0]).status_code == 200
    with ruled.resume(details["run_id"], details["sequence_number"]) as stream:
        assert "UTC" in list(stream)[-1][1]["response_text"]


def test_a_crowd_of_runs_waits_without_workers_and_goes_on_when_all_are_decided_at_once(ruled, wait_until):
    def ask(_):
        return ruled.http.post("/api/v1/chat", json={"message": "What time is it?"}).json()["details"]

    def approve(details):
        return decide(ruled, details["run_id"], details["approvals"][0], call=details["approvals"][0]["id"]).status_code

    with ThreadPoolExecutor(20) as pool:
        waiting = list(pool.map(ask, range(40)))
        ids = [details["run_id"] for details in waiting]
        states = "select state, count(*) from job where run_id = any(%s::uuid[]) group by state"
        assert ruled.sql(states, ids) == [("waiting", 40)]
        with ruled.chat("[[text=still here]]") as (_, stream):
            assert list(stream)[-1][1]["response_text"] == "still here"
        assert list(pool.map(approve, waiting)) == [200] * 40
    wait_until(lambda: ruled.sql(states, ids) == [("succeeded", 40)], 30)


def test_each_branch_of_a_workflow_waits_for_its_own_decision(ruled, wait_until):
    body = {"message": "[[tool=get_current_time]]"}
    with ruled.http.stream("POST", "/api/v1/workflows/analysis_parallel/run-stream", json=body) as response:
        run_id, events = response.headers["X-Run-Id"], list(frames(response.iter_lines()))
    assert events[-1][1]["event"] == "approval_requested" and events[-1][1]["branch_index"] in (0, 1)
    first, second = wait_until(lambda: ruled.run(run_id)["approvals"][1:] and ruled.run(run_id)["approvals"])
    assert decide(ruled, run_id, first, call=first["id"]).status_code == 200
    wait_until(
        lambda: (
            ruled.sql("select count(*) from workflow_step where run_id = %s and state = 'succeeded'", run_id) == [(1,)]
        )
    )
    run = ruled.run(run_id)
    assert (run["state"], [one["id"] for one in run["approvals"]]) == ("waiting", [second["id"]])
    assert decide(ruled, run_id, second, call=second["id"]).status_code == 200
    wait_until(lambda: ruled.run(run_id)["state"] == "succeeded", 20)
    with ruled.resume(run_id) as stream:
        events = list(stream)
    assert_complete(events)
    assert [event["event"] for _, event in events].count("approval_requested") == 2 == len(outputs(events))


@contextlib.contextmanager
def signed_in(live, email):
    tokens = live.http.post("/api/v1/auth/token", json={"email": email, "password": PEOPLE_PASSWORD}).json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    with httpx.Client(base_url=live.url, headers=headers, timeout=30) as client:
        yield client


ADD_PERSON = """
from tests.support.accounts import add_user
from models.auth.tenants import Tenant
tenant = Tenant.get_or_none(Tenant.slug == "{slug}") or Tenant.create(slug="{slug}", name="{slug}")
Tenant.update(seats=None).where(Tenant.id == tenant.id).execute()  # its plan has one
add_user("{email}", "{password}", tenant=tenant, role="{role}", verified=True)
"""


@pytest.mark.parametrize(
    ("slug", "role", "status"), [("demo", "viewer", 403), ("demo", "member", 404), ("elsewhere", "owner", 404)]
)
def test_who_may_not_decide_changes_nothing(ruled, slug, role, status):
    run_id, events = wait_for_a_person(ruled, "What time is it?")
    email = f"{role}-{os.urandom(4).hex()}@example.com"
    ruled.stack.run("-c", ADD_PERSON.format(slug=slug, email=email, password=PEOPLE_PASSWORD, role=role))
    with signed_in(ruled, email) as client:
        [approval] = asked(events)
        body = {"decision": "approve", "digest": approval["digest"]}
        answer = client.post(f"/api/v1/runs/{run_id}/approvals/{approval['call_id']}", json=body)
        assert answer.status_code == status, answer.text
        assert client.get(f"/api/v1/runs/{run_id}/approvals").status_code == 404
    assert ruled.run(run_id)["state"] == "waiting"
    ruled.http.post(f"/api/v1/runs/{run_id}/cancel")
