"""No run is lost: when workers and edges are killed, messages are lost, stores restart or are emptied, and runs are cancelled."""

import os
import signal
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from devstack.process import free_port

LONG = "[[deltas=60 delay=50ms]] Tell me everything."
SHORT = "[[deltas=5 delay=10ms]] Briefly, please."


def terminal_of(events):
    return [event for _, event in events if event["is_terminal"]]


def text_after_last_restart(events):
    text = ""
    for _, event in events:
        text = "" if event["event"] == "restarted" else text + (event["text_delta"] or "")
    return text


def assert_complete(events):
    numbers = [number for number, _ in events]
    assert numbers == sorted(set(numbers)), "sequence numbers strictly increase"
    assert len(terminal_of(events)) == 1 and events[-1][1]["is_terminal"]


def answers(live, conversation_id):
    history = live.http.get(f"/api/v1/conversations/{conversation_id}").json()
    return [message["content"] for message in history["messages"] if message["role"] == "assistant"]


def test_a_chat_streams_from_a_worker_to_the_client(live):
    with live.chat(SHORT) as (run_id, stream):
        events = list(stream)
    assert_complete(events)
    final = events[-1][1]
    assert final["response_text"] == text_after_last_restart(events) != ""
    assert answers(live, final["conversation_id"]) == [final["response_text"]]
    run = live.run(run_id)
    assert (run["state"], run["usage"]["output_tokens"] > 0) == ("succeeded", True)


def test_a_worker_killed_while_it_answers_is_replaced_within_five_seconds(live, wait_until):
    with live.chat(LONG) as (run_id, stream):
        events = []
        for number, event in stream:
            events.append((number, event))
            if len([1 for _, seen in events if seen["text_delta"]]) == 8:
                break
        os.kill(live.owner_of(run_id), signal.SIGKILL)
        killed_at = time.monotonic()
        for number, event in stream:
            if event["event"] == "restarted":
                seconds = time.monotonic() - killed_at
            events.append((number, event))
    assert seconds <= 5, f"taken over after {seconds:.1f} s"
    assert_complete(events)
    final = events[-1][1]
    assert final["response_text"] == text_after_last_restart(events)
    assert answers(live, final["conversation_id"]) == [final["response_text"]]
    assert live.sql("select count(*), max(epoch) from job where run_id = %s", run_id) == [(1, 2)]


def test_a_client_of_a_killed_edge_can_resume_from_its_last_sequence(live):
    events = []
    with pytest.raises(httpx.HTTPError), live.chat(LONG) as (run_id, stream):
        for number, event in stream:
            events.append((number, event))
            if len(events) == 20:
                live.processes["edge"].kill()
    live.processes["edge"].wait()
    live.start("edge")
    live.wait_ready()
    with live.resume(run_id, events[-1][0]) as stream:
        events += list(stream)
    assert_complete(events)
    assert events[-1][1]["response_text"] == text_after_last_restart(events)


def test_a_finished_run_is_replayed_from_its_stream_and_without_one_from_postgres(live):
    with live.chat(SHORT) as (run_id, stream):
        events = list(stream)
    with live.resume(run_id) as stream:
        assert list(stream) == events
    live.redis().delete(f"run:{run_id}")
    with live.resume(run_id) as stream:
        assert list(stream) == events[-1:]


def test_a_job_whose_message_was_lost_is_done(live, wait_until):
    for key in ("worker-agents", "spare"):
        live.processes[key].terminate()
    for key in ("worker-agents", "spare"):
        live.processes[key].wait(30)
    with live.chat(SHORT) as (run_id, stream):
        live.redis("BROKER_URL").flushdb()
        live.start("worker-agents")
        live.start("worker-agents", "spare")
        assert_complete(list(stream))
    assert live.run(run_id)["state"] == "succeeded"


def test_an_edge_killed_between_commit_and_send_loses_no_job(live, wait_until):
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        # A broker that accepts connections and never answers keeps the edge between its commit and its send.
        port, broker = free_port(), f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        edge = live.stack.spawn("edge", PORT=str(port), BROKER_URL=broker)
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{url}/health").status_code == 200, 20)
        conversation = str(uuid.uuid4())
        response = pool.submit(
            httpx.post,
            f"{url}/api/v1/chat",
            json={"message": "Are you there?", "conversation_id": conversation},
            headers={"Authorization": live.http.headers["Authorization"]},
            timeout=30,
        )
        rows = wait_until(
            lambda: live.sql(
                "select run.id, job.state, job.epoch from run join job on job.run_id = run.id where conversation_key = %s",
                conversation,
            )
        )
        edge.kill()
        assert isinstance(response.exception(20), httpx.HTTPError)
    [(run_id, *_)] = rows
    with live.resume(run_id) as stream:
        assert_complete(list(stream))
    assert live.run(run_id)["state"] == "succeeded"
    assert len(answers(live, conversation)) == 1


def test_a_worker_that_is_told_to_stop_finishes_its_runs(live):
    with live.chat("[[deltas=20 delay=50ms]] Go on.") as (run_id, stream):
        events = [next(stream) for _ in range(6)]
        os.kill(live.owner_of(run_id), signal.SIGTERM)
        events += list(stream)
    assert_complete(events)
    assert not [event for _, event in events if event["event"] == "restarted"]


def test_a_restart_of_redis_pauses_runs_and_loses_none(live):
    with live.chat(LONG) as (run_id, stream):
        events = [next(stream) for _ in range(15)]
        live.stack.parts["valkey"].restart()
        events += list(stream)
    assert_complete(events)
    assert live.run(run_id)["state"] == "succeeded"


def test_emptying_redis_loses_no_run(live, wait_until):
    with live.chat(LONG) as (run_id, stream):
        [next(stream) for _ in range(15)]
        live.redis().flushall()
        rest = list(stream)
    assert len(terminal_of(rest)) == 1
    assert live.run(run_id)["state"] == "succeeded"


def test_a_restart_of_postgres_under_load_fails_no_run(live, wait_until):
    runs, failures = [], []

    def talk():
        try:
            with live.chat("[[deltas=30 delay=100ms]] Slowly.") as (run_id, stream):
                runs.append(run_id)
                list(stream)
        except (httpx.HTTPError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=talk) for _ in range(10)]
    [thread.start() for thread in threads]
    wait_until(lambda: len(runs) == 10)
    live.stack.parts["postgres"].restart()
    [thread.join(60) for thread in threads]
    assert not failures
    wait_until(lambda: all(live.run(run_id)["state"] == "succeeded" for run_id in runs), 30)
    with live.chat(SHORT) as (_, stream):
        assert_complete(list(stream))


def test_a_cancel_of_a_running_run_closes_the_stream_from_the_provider(live, wait_until):
    before = live.provider()
    with live.chat("[[hang]]") as (run_id, stream):
        wait_until(lambda: live.owner_of(run_id))
        first, second = (live.http.post(f"/api/v1/runs/{run_id}/cancel") for _ in range(2))
        assert first.status_code == second.status_code == 202
        events = list(stream)
    assert_complete(events)
    assert events[-1][1]["event"] == "cancelled"
    assert live.run(run_id)["state"] == "cancelled"
    wait_until(lambda: live.provider()["closed_early"] > before["closed_early"])


def test_a_cancel_of_a_finished_run_is_a_conflict(live):
    with live.chat(SHORT) as (run_id, stream):
        list(stream)
    response = live.http.post(f"/api/v1/runs/{run_id}/cancel")
    assert (response.status_code, response.json()["error"]) == (409, "run_finished")


def test_a_cancel_just_before_the_end_leaves_one_terminal_event(live):
    for delay in (0.0, 0.02, 0.05, 0.1):
        with live.chat("[[deltas=5 delay=10ms]] Race.") as (run_id, stream):
            time.sleep(delay)
            assert live.http.post(f"/api/v1/runs/{run_id}/cancel").status_code in (202, 409)
            assert_complete(list(stream))


def test_a_client_that_leaves_does_not_stop_the_run(live, wait_until):
    with live.chat("[[deltas=20 delay=20ms]] Do not mind me.") as (run_id, stream):
        conversation = next(stream)[1]["conversation_id"]
    wait_until(lambda: live.run(run_id)["state"] == "succeeded")
    assert len(answers(live, conversation)) == 1


def test_only_one_scheduler_works_and_a_spare_takes_over(live, wait_until):
    spare = live.start("scheduler", "second scheduler")
    time.sleep(2)
    holders = "select count(*) from pg_locks where locktype = 'advisory' and classid::bigint << 32 | objid::bigint = hashtextextended('scheduler', 0) and granted"
    assert live.sql(holders) == [(1,)]
    live.processes["scheduler"].kill()
    live.processes["scheduler"].wait()
    wait_until(lambda: live.sql(holders) == [(1,)])
    spare.terminate()
    spare.wait(10)
    del live.processes["second scheduler"]
