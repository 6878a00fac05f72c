"""One trace from the request to the model, through real processes: also over the death of a worker."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from devstack.process import free_port
from tests.flows.conftest import eventually
from tests.support.traces import collector

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def traced(live_stack):
    """(collector, client of an edge): the edge and all workers of agents send their spans to this collector."""
    plain = {key: live_stack.processes.pop(key) for key in ("worker-agents", "spare")}
    for process in plain.values():
        process.terminate()
    with collector() as received:
        port = str(free_port())
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "WORKER_GRACE_SECONDS": "0",
        }
        started = [live_stack.stack.spawn("edge", PORT=port, **env)]
        started += [
            live_stack.stack.spawn("worker-agents", **env) for _ in range(3)
        ]  # a test kills one, another stops one
        for process in plain.values():
            process.wait(30)
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: httpx.get(f"{url}/health/ready").status_code == 200, 30)
        headers = {"Authorization": live_stack.http.headers["Authorization"]}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            yield received, client
        for process in started:
            process.stop()
    for key in plain:
        live_stack.start("worker-agents", key)


def traceparent(n):
    return f"00-{TRACE[:-2]}{n:02x}-00f067aa0ba902b7-01"


def trace(n):
    return traceparent(n).split("-")[1]


def test_a_chat_is_one_trace_from_the_caller_to_the_model(traced, wait_until):
    received, client = traced
    body = {"message": "[[tool=get_current_time]] [[text=private words]]"}
    answer = client.post("/api/v1/chat", json=body, headers={"traceparent": traceparent(1)})
    assert answer.status_code == 200 and answer.headers["traceresponse"].split("-")[1] == trace(1)
    wait_until(lambda: received.of(trace(1), "job chat.run") and received.of(trace(1), "POST"), 30)
    spans = {span.name: span for span in received.of(trace(1))}
    request, job = spans["POST /api/v1/chat"], spans["job chat.run"]
    assert (request.parent, job.parent) == ("00f067aa0ba902b7", request.id)
    assert (request.service, job.service) == ("longshore-edge", "longshore-worker")
    assert job.attributes["longshore.run.id"] == answer.headers["X-Run-Id"]
    agent, calls = spans["invoke_agent Triage Assistant"], received.of(trace(1), "chat ")
    assert agent.parent == job.id and len(calls) == 2
    assert {span.parent for span in [*calls, spans["execute_tool get_current_time"]]} == {agent.id}
    assert not [span for span in received.of(trace(1)) if "error.type" in span.attributes]
    assert "private words" not in repr(received.spans)


def chat_with_a_signal_in_the_middle(live, client, n, number):
    """Stream a chat to its end; its worker gets this signal after a few texts. Returns the run's id."""
    body = {"message": "[[deltas=40 delay=50ms]] Tell me everything."}
    with client.stream("POST", "/api/v1/chat/stream", json=body, headers={"traceparent": traceparent(n)}) as stream:
        run_id, seen = stream.headers["X-Run-Id"], 0
        for line in stream.iter_lines():
            seen += '"text_delta":"' in line
            if seen == 5:
                seen += 1
                os.kill(live.owner_of(run_id), number)
    return run_id


def test_the_attempts_of_a_run_whose_worker_was_killed_are_one_trace(traced, wait_until, live):
    received, client = traced
    run_id = chat_with_a_signal_in_the_middle(live, client, 2, signal.SIGKILL)
    (job,) = wait_until(lambda: received.of(trace(2), "job chat.run"), 30)
    # The spans of the killed process died with it; what continues is the trace that the row names.
    assert job.attributes["longshore.job.epoch"] == 2 and job.attributes["longshore.job.result"] == "succeeded"
    (request,) = received.of(trace(2), "POST")
    assert job.parent == request.id
    assert live.run(run_id)["state"] == "succeeded"


def test_the_attempts_of_a_run_that_a_worker_has_handed_back_are_one_trace(traced, wait_until, live):
    received, client = traced
    chat_with_a_signal_in_the_middle(live, client, 3, signal.SIGTERM)

    def attempts():
        found = received.of(trace(3), "job chat.run")
        return found if any(span.attributes["longshore.job.result"] == "succeeded" for span in found) else None

    found = wait_until(attempts, 30)
    assert len(found) > 1 and len({span.parent for span in found}) == 1
    # The worker that stops may be given the job once more before it has stopped.
    assert {span.attributes["longshore.job.result"] for span in found} == {"released", "succeeded"}
    assert sorted(span.attributes["longshore.job.epoch"] for span in found) == list(range(1, len(found) + 1))


def test_of_fifty_chats_at_once_each_has_its_own_trace(traced, wait_until):
    received, client = traced

    def ask(n):
        body = {"message": f"[[deltas=5 delay=20ms]] Number {n}."}
        answer = client.post("/api/v1/chat", json=body, headers={"traceparent": traceparent(n)})
        return n, answer.headers["X-Run-Id"]

    with ThreadPoolExecutor(50) as pool:
        runs = dict(pool.map(ask, range(100, 150)))
    wait_until(lambda: all(len(received.of(trace(n))) >= 4 for n in runs), 30)
    for n, run_id in runs.items():
        names = sorted(span.name for span in received.of(trace(n)))
        assert names == ["POST /api/v1/chat", "chat gpt-5.1", "invoke_agent Triage Assistant", "job chat.run"]
        (job,) = received.of(trace(n), "job chat.run")
        assert job.attributes["longshore.run.id"] == run_id


def test_the_steps_of_a_workflow_are_one_trace(traced, wait_until):
    received, client = traced
    url, body = "/api/v1/workflows/analysis_parallel/run", {"message": "[[text=fine]]"}
    answer = client.post(url, json=body, headers={"traceparent": traceparent(5)})
    assert answer.status_code == 200, answer.text

    def is_whole():
        """All spans have come: each process sends its own when it likes."""
        spans = received.of(trace(5))
        known = {span.id for span in spans} | {"00f067aa0ba902b7"}
        steps = [span for span in spans if span.name == "job workflow.step"]
        return len(steps) == 3 and {span.parent for span in spans} <= known and steps

    steps = wait_until(is_whole, 30)
    assert received.of(trace(5), "POST") and received.of(trace(5), "job workflow.advance")
    assert len({span.attributes["longshore.run.id"] for span in steps}) == 1
    assert len(received.of(trace(5), "invoke_agent")) == 3


@pytest.fixture
def approved_by_people(live):
    live.stack.run("-m", "models", "tools", "set", "demo", "get_current_time", "always", "--reason", "test")
    yield
    live.stack.run("-m", "models", "tools", "clear", "demo", "get_current_time", "--reason", "test")


def test_a_run_that_waited_for_a_person_goes_on_in_its_trace(traced, approved_by_people, wait_until):
    received, client = traced
    body = {"message": "[[tool=get_current_time]] [[text=late]]"}
    answer = client.post("/api/v1/chat", json=body, headers={"traceparent": traceparent(6)})
    approval, run_id = answer.json()["details"]["approvals"][0], answer.json()["details"]["run_id"]
    decision = {"decision": "approve", "digest": approval["digest"]}
    url = f"/api/v1/runs/{run_id}/approvals/{approval['call_id']}"
    assert client.post(url, json=decision, headers={"traceparent": traceparent(7)}).status_code == 200
    wait_until(lambda: client.get(f"/api/v1/runs/{run_id}").json()["state"] == "succeeded", 30)
    found = wait_until(lambda: (jobs := received.of(trace(6), "job chat.run")) and len(jobs) == 2 and jobs, 30)
    assert sorted(span.attributes["longshore.job.result"] for span in found) == ["succeeded", "waiting"]
    assert not [span for span in received.of(trace(6)) if "error.type" in span.attributes]


def test_an_edge_that_ends_sends_what_it_has(traced, wait_until, live):
    received, _ = traced
    port = str(free_port())
    slow = {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    edge = live.stack.spawn("edge", PORT=port, **slow)
    url = f"http://127.0.0.1:{port}/api/v1/agents"
    wait_until(lambda: httpx.get(url, headers={"traceparent": traceparent(4)}).status_code == 401, 30)
    assert not received.of(trace(4))
    edge.stop()
    assert received.of(trace(4), "GET /api/v1/agents")
