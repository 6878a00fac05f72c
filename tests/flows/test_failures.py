"""Each documented way in which a model gives no answer, with real processes: the event, the status and the stored run."""

import re
from pathlib import Path

import pytest

from edge.run_answers import STATUS

# What the stand-in is told to do, and the code that the table in docs/streams.md has for it.
FAILURES = {
    "[[status=401]]": "provider_authentication",
    "[[status=404 code=model_not_found]]": "model_not_found",
    "[[status=429]]": "provider_rate_limited",
    "[[status=500]]": "provider_unavailable",
    "[[status=400]]": "provider_bad_request",
    "[[context_overflow]]": "context_length_exceeded",
    "[[incomplete]]": "provider_incomplete",
    "[[content_filter]]": "provider_incomplete",
    "[[failed]]": "provider_failed",
    "[[error_event]]": "provider_failed",
    "[[cut=3]]": "provider_unavailable",
    "[[hang]]": "provider_timeout",
    "[[loop_tool=get_current_time]]": "max_turns_exceeded",
}
SECRETS = re.compile(r"sk-|Bearer|Traceback|127\.0\.0\.1")


def documented():
    """Code -> status, as the table of the documentation has it."""
    text = Path("docs/streams.md").read_text()
    return {code: int(status) for code, status in re.findall(r"^\| `(\w+)` \| (\d{3}) \|", text, re.MULTILINE)}


def test_the_table_of_the_documentation_is_that_of_the_code():
    assert {code: status for code, status in documented().items() if code in STATUS} == STATUS


@pytest.mark.parametrize("wire", ["once", "once-chat"])
@pytest.mark.parametrize("directive", FAILURES)
def test_a_provider_that_fails_gives_the_documented_event_and_status(live, directive, wire):
    code = FAILURES[directive]
    model = {"run_options": {"run_config": {"model": f"{wire}:gpt-5.1"}}}
    answer = live.http.post("/api/v1/chat", json={"message": directive, **model})
    assert (answer.status_code, answer.json()["error"]) == (documented()[code], code)
    assert not SECRETS.search(answer.text)
    with live.chat(directive, **model) as (run_id, stream):
        events = [event for _, event in stream]
    last = events[-1]
    assert (last["kind"], last["payload"]["code"]) == ("error", code)
    assert [event["is_terminal"] for event in events].count(True) == 1 and last["payload"]["error"]
    run = live.run(run_id)
    assert (run["state"], run["error"]["code"]) == ("failed", code)
    assert run["usage"] is not None


@pytest.mark.parametrize("wire", ["once", "once-chat"])
def test_a_refusal_is_an_answer(live, wire):
    model = {"run_options": {"run_config": {"model": f"{wire}:gpt-5.1"}}}
    answer = live.http.post("/api/v1/chat", json={"message": "[[refusal]]", **model})
    assert answer.status_code == 200 and answer.json()["metadata"]["refusal"] is True and answer.json()["response"]
