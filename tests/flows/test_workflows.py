"""Workflows with real processes: branches side by side, workers that are killed, cancels, retries, and a hundred at once."""

import contextlib
import json
import os
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from tests.flows.conftest import frames
from tests.flows.test_chat import assert_complete, terminal_of

ROOT = "/api/v1/workflows"


@contextlib.contextmanager
def run_stream(live, key, message, **more):
    with live.http.stream("POST", f"{ROOT}/{key}/run-stream", json={"message": message, **more}) as response:
        assert response.status_code == 200, response.read()
        yield response.headers["X-Run-Id"], frames(response.iter_lines())


def answer_of(live, key, message):
    """The answer of POST .../run, asked again while the run goes on: the tests' edge waits for five seconds only."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    for _ in range(12):
        answer = live.http.post(f"{ROOT}/{key}/run", json={"message": message}, headers=headers, timeout=60)
        if answer.status_code != 504:
            break
    assert answer.status_code == 200, answer.text
    return answer.json()


def branches(*messages):
    return json.dumps(messages)


def steps(live, run_id):
    return {step["name"]: step for step in live.http.get(f"{ROOT}/runs/{run_id}").json()["steps"]}


def epochs(live, run_id):
    rows = live.sql(
        "select step.name, job.epoch from workflow_step step join job on job.id = step.job_id where step.run_id = %s",
        run_id,
    )
    return dict(rows)


def test_a_workflow_streams_its_steps_and_ends_once_with_the_output(live):
    with run_stream(live, "analysis_parallel", "[[text=hello]] x") as (run_id, stream):
        events = list(stream)
    assert_complete(events)
    last = events[-1][1]
    detail = live.http.get(f"{ROOT}/runs/{run_id}").json()
    assert (detail["status"], detail["final_output_text"]) == ("succeeded", last["response_text"])
    assert [step["status"] for step in detail["steps"]] == ["succeeded"] * 3
    with live.resume(run_id, events[4][0]) as stream:
        assert list(stream) == events[5:], "the run's stream can be resumed from any number"
    live.redis().delete(f"run:{run_id}")
    with live.resume(run_id) as stream:
        assert list(stream) == events[-1:]


def test_the_waiting_variant_stores_the_answer_in_the_conversation(live):
    answer = answer_of(live, "analysis_code", "[[text=plan]] x")
    assert [(step["name"], step["agent_key"]) for step in answer["steps"]] == [
        ("analysis", "data_analyst"),
        ("code", "code_assistant"),
    ]
    assert answer["steps"][0]["response_text"] == "plan"
    history = live.http.get(f"/api/v1/conversations/{answer['conversation_id']}").json()["messages"]
    assert [message["role"] for message in history] == ["user", "assistant"]
    assert history[1]["content"] == answer["final_output"] == answer["steps"][1]["response_text"]


def test_eight_branches_take_the_time_of_the_longest(live):
    slow = "[[slow=3s text=done]]"
    began = time.monotonic()
    answer = answer_of(live, "branches", branches(*[slow] * 8))
    seconds = time.monotonic() - began
    assert answer["final_output"] == "|".join(["done"] * 8)
    assert 3 <= seconds < 12, f"{seconds:.1f} s; one after the other they take 24 s"


def test_a_worker_killed_in_a_parallel_stage_loses_no_finished_branch(live, wait_until):
    messages = [f"[[text=quick{number}]]" for number in range(4)] + [
        f"[[slow=4s text=slow{number}]]" for number in range(4)
    ]
    with run_stream(live, "branches", branches(*messages)) as (run_id, stream):
        wait_until(lambda: [step["status"] for step in steps(live, run_id).values()].count("succeeded") == 4, 20)
        owners = live.sql("select distinct owner from job where run_id = %s and state = 'running'", run_id)
        for (owner,) in owners:
            os.kill(int(owner.split(":")[1]), signal.SIGKILL)
        wait_until(live.revive)
        events = list(stream)
    assert_complete(events)
    assert events[-1][1]["response_text"] == "|".join(
        [f"quick{number}" for number in range(4)] + [f"slow{number}" for number in range(4)]
    )
    assert epochs(live, run_id) == {f"b{number}": 1 if number < 4 else 2 for number in range(8)}
    restarted = {event["step_name"] for _, event in events if event["event"] == "restarted"}
    assert restarted == {"b4", "b5", "b6", "b7"}
    assert len([event for _, event in events if event["event"] == "stage_start"]) == 1


def test_a_cancel_stops_every_branch_at_the_provider(live, wait_until):
    before = live.provider()["open_streams"]
    with run_stream(live, "branches", branches(*["[[slow=60s]]"] * 6)) as (run_id, stream):
        wait_until(lambda: live.provider()["open_streams"] >= before + 6, 20)
        began = time.monotonic()
        assert live.http.post(f"{ROOT}/runs/{run_id}/cancel").status_code == 202
        assert live.http.get(f"{ROOT}/runs/{run_id}").json()["status"] == "cancelled"
        wait_until(lambda: live.provider()["open_streams"] <= before, 10)
        print(f"the provider's streams were closed after {time.monotonic() - began:.2f} s")  # noqa: T201
        events = list(stream)
    assert_complete(events)
    assert (events[-1][1]["event"], events[-1][1]["workflow_run_id"]) == ("cancelled", run_id)
    assert [step["status"] for step in steps(live, run_id).values()] == ["cancelled"] * 6 + ["skipped"] * 2
    wait_until(lambda: not live.sql("select 1 from job where run_id = %s and state = 'running'", run_id), 10)
    assert live.http.post(f"{ROOT}/runs/{run_id}/cancel").status_code == 409


def test_a_failed_branch_stops_the_others_and_a_retry_goes_on_from_it(live, wait_until):
    before = live.provider()["open_streams"]
    failing = f"[[status=400 times=1 key=retry-{time.time_ns()}]] [[text=mended]]"
    message = branches("[[text=quick]]", failing, "[[slow=2s text=slow]]")
    with run_stream(live, "branches", message) as (run_id, stream):
        events = list(stream)
    assert terminal_of(events)[0]["payload"]["code"] == "provider_bad_request"
    wait_until(lambda: live.provider()["open_streams"] <= before, 10)
    known = events[-1][0]
    retry = lambda: live.http.post(f"{ROOT}/runs/{run_id}/retry").status_code == 202  # noqa: E731
    wait_until(retry, 10)  # until the stopped branch has stopped
    with live.resume(run_id, known) as stream:
        rest = list(stream)
    assert_complete(rest)
    assert rest[0][0] > known and rest[-1][1]["response_text"] == "quick|mended|slow"
    found = epochs(live, run_id)
    assert (found["b0"], found["b1"]) in ((1, 2), (2, 2)), "b0 may have been stopped before it ended"


def test_a_hundred_runs_at_once_each_end_once(live, wait_until):
    def ask(number):
        body = {"message": f"[[text=answer{number} deltas=2]]", "conversation_id": f"crowd-{live.url[-5:]}-{number}"}
        answer = live.http.post(f"{ROOT}/analysis_parallel/run", json=body, timeout=120)
        return answer.status_code, answer.headers["X-Run-Id"]

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(ask, range(100)))
    assert {status for status, _ in answers} <= {200, 504}, "answered, or still running when the wait was over"
    ids = [run_id for _, run_id in answers]
    ended = "select count(*) from run where state = 'succeeded' and id = any(%s::uuid[])"
    wait_until(lambda: live.sql(ended, ids) == [(100,)], 120)
    rows = live.sql("select state, count(*) from workflow_step where run_id = any(%s::uuid[]) group by state", ids)
    assert rows == [("succeeded", 300)]
    [(answered,)] = live.sql("select count(*) from message where role = 'assistant' and run_id = any(%s::uuid[])", ids)
    assert answered == 100
    for run_id in ids[::10]:
        with live.resume(run_id) as stream:
            assert_complete(list(stream))
