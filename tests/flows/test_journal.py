"""Workers are killed while an agent works: no finished step is done again, and the client's text is the stored one."""

import contextlib
import itertools
import os
import random
import signal
import threading
import time

import pytest

from tests.flows.test_chat import answers, assert_complete, terminal_of

KILLS = CALLS = 20
CALL = 'tool=leave_trace {"seconds": 0.05} '
AGENT = {"agent_type": "counter"}
# Not to wait for the lease: of the dead worker only, since a living one that loses it goes on for a moment, beside the next.
EXPIRE = """
update job set lease_until = now() - interval '1 second'
where run_id = %s and state = 'running' and split_part(owner, ':', 2) = %s"""
STEPS = {"max_turns": 40, "run_config": {"model": "steps:gpt-5.1"}}  # one call in each response


@pytest.fixture
def traces(live):
    """traces() -> [(what, idempotency key, time)] of the calls so far."""
    live.redis().delete("calls")
    return lambda: [line.decode().split() for line in live.redis().lrange("calls", 0, -1)]


def text_of(events):
    """What a client shows that drops what is void."""
    texts = {}
    for number, event in events:
        void_from = (event["payload"] or {}).get("void_from") if event["event"] == "restarted" else None
        if void_from is not None:
            texts = {n: text for n, text in texts.items() if n < void_from}
        texts[number] = event["text_delta"] or ""
    return "".join(texts.values())


def kill_at_random(live, run_id, kills, has_ended):
    """Kill the run's worker after one more step or none and a moment, again and again.

    Never twice without a step between: a job that makes no progress in four attempts is dead.
    """
    more, killed = 1, []
    while len(kills) < KILLS:
        steps, more = more, random.choice((1, 2) if more == 0 else (0, 1, 2))
        wanted = count_steps(live, run_id) + steps
        while (pid := live.owner_of(run_id)) in (None, *killed) or count_steps(live, run_id) < wanted:
            live.revive()
            if has_ended.wait(0.02):
                return
        time.sleep(random.uniform(0.0, 0.25))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        kills.append(time.time())
        killed.append(pid)
        live.sql(EXPIRE, run_id, str(pid))


def ends_within(seconds, live, has_ended):
    """Whether it does. The last two kills may have hit both workers, each before it was seen that the other had ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        live.revive()
        if has_ended.wait(0.1):
            return True
    return False


def count_steps(live, run_id):
    return live.sql("select count(*) from run_step where run_id = %s and finished_at is not null", run_id)[0][0]


def test_a_run_that_is_killed_twenty_times_repeats_no_finished_step(live, traces):
    before = live.provider()["responses"]
    message = f"[[slow=300ms deltas=20 delay=20ms {CALL * CALLS}]]"
    kills, has_ended, events = [], threading.Event(), []
    with live.chat(message, run_options=STEPS, **AGENT) as (run_id, stream):

        def read():
            events.extend(stream)
            has_ended.set()

        # Processes end with the thread that has started them, so this one starts them, and the other one reads.
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        kill_at_random(live, run_id, kills, has_ended)
        has_come = ends_within(120, live, has_ended)
        assert has_come, live.sql("select state, epoch, failures, error from job where run_id = %s", run_id)
    assert_complete(events)
    final = events[-1][1]
    assert live.run(run_id)["state"] == "succeeded", final
    assert final["response_text"] == text_of(events) == " ".join(map(str, range(1, 21)))
    assert answers(live, final["conversation_id"]) == [final["response_text"]]
    assert len(kills) == KILLS
    # What a kill interrupted is asked for again by the next claim; a machine that stalls may cost a claim too.
    [(claims,)] = live.sql("select epoch from job where run_id = %s", run_id)
    assert live.provider()["responses"] - before <= CALLS + claims
    assert_called_once(traces(), kills)
    outputs = [event["tool_call_id"] for _, event in events if event["run_item_name"] == "tool_output"]
    assert len(outputs) == len(set(outputs)) == CALLS
    assert live.run(run_id)["usage"]["requests"] == CALLS + 1


def assert_called_once(marks, kills):
    """Each call had its effect once, and was made again only if a kill hit it."""
    begins, ends = times_of("begin", marks), times_of("end", marks)
    assert len(begins) == CALLS
    for key, times in begins.items():
        for first, second in itertools.pairwise(times):
            hits = [kill for kill in kills if first < kill < second]
            assert hits, f"{key} was called twice without a kill"
            # It was not journaled: it had not ended, or only just.
            assert all(hits[0] - end < 1 for end in ends.get(key, ()) if first < end < second)


def times_of(what, marks):
    times = {}
    for mark, key, at in marks:
        if mark == what:
            times.setdefault(key, []).append(float(at))
    return times


def test_three_calls_of_a_second_take_about_a_second(live, traces):
    calls = 'tool=leave_trace {"seconds": 1} ' * 3
    with live.chat(f"[[{calls}text=done]]", **AGENT) as (_, stream):
        events = list(stream)
    assert_complete(events)
    marks = traces()
    assert len(times_of("end", marks)) == 3
    begins, ends = ([at for times in times_of(what, marks).values() for at in times] for what in ("begin", "end"))
    assert max(begins) < min(ends), "they overlap"


def test_a_cancel_stops_a_tool_in_the_middle(live, traces, wait_until):
    with live.chat('[[tool=leave_trace {"seconds": 60}]]', **AGENT) as (run_id, stream):
        wait_until(lambda: times_of("begin", traces()))
        assert live.http.post(f"/api/v1/runs/{run_id}/cancel").status_code == 202
        events = list(stream)
    assert_complete(events)
    assert terminal_of(events)[0]["event"] == "cancelled"
    wait_until(lambda: times_of("stopped", traces()))


def test_a_kill_between_two_parallel_calls_repeats_the_unfinished_one_and_voids_nothing(live, traces, wait_until):
    calls = 'tool=leave_trace {"seconds": 0} tool=leave_trace {"seconds": 3}'
    with live.chat(f"[[{calls} text=done]]", **AGENT) as (run_id, stream):
        wait_until(lambda: count_steps(live, run_id) == 2)
        os.kill(live.owner_of(run_id), signal.SIGKILL)
        events = list(stream)
    assert_complete(events)
    assert [event["payload"]["void_from"] for _, event in events if event["event"] == "restarted"] == [None]
    begins = times_of("begin", traces())
    assert sorted(len(times) for times in begins.values()) == [1, 2]
    assert text_of(events) == events[-1][1]["response_text"] == "done"
