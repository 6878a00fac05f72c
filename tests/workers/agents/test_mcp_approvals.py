"""A hosted MCP server that asks whether it may make a call asks a person, like a tool of ours."""

from types import SimpleNamespace

import pytest

from models.runs.approvals import Approval
from models.runs.run import Run
from tests.support.approvals import decide, job_of
from workers import chat, runtime
from workers.agents import loop
from workers.jobs import CHAT_RUN

QUESTION = {
    "type": "mcp_approval_request",
    "id": "mcpr_1",
    "name": "delete_page",
    "arguments": '{"page": "home"}',
    "server_label": "wiki",
}
ANSWER = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Done.", "annotations": []}],
}


@pytest.fixture
def inputs(monkeypatch):
    """What the provider was given, response by response. It asks first, and answers then."""
    given = []

    class Provider:
        has_begun = True

        def __init__(self, request, wait):
            self.target, self.has_begun = SimpleNamespace(name="m", model="m", label=lambda model: model), True
            given.append(list(request["input"]))

        def events(self):
            item = QUESTION if len(given) == 1 else ANSWER
            yield {"type": "response.output_item.done", "item": item}
            usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
            response = {"id": f"resp_{len(given)}", "model": "m", "output": [item], "usage": usage}
            yield {"type": "response.completed", "response": response}

    monkeypatch.setattr(loop, "Answer", Provider)
    return given


def attempt(run):
    runtime.execute(CHAT_RUN, chat.run_chat, str(job_of(run).id))
    return Run.get_by_id(run.id)


@pytest.mark.parametrize(("state", "approve"), [("approved", True), ("denied", False)])
def test_the_server_gets_the_persons_answer_and_the_model_is_not_asked_twice(person, ask, inputs, state, approve):
    principal = person()
    run = attempt(ask(principal))
    [approval] = Approval.of_run(run.id)
    assert (run.state, approval.reason, approval.tool_name) == ("waiting", "mcp", "delete_page")
    assert (approval.call_id, approval.arguments) == ("mcpr_1", {"page": "home"})
    decide(principal, approval, state, note="So be it.")
    assert attempt(run).result["response"] == "Done." and len(inputs) == 2
    asked, answered = inputs[1][-2:]
    assert asked["type"] == "mcp_approval_request"
    assert answered["type"] == "mcp_approval_response"
    assert (answered["approval_request_id"], answered["approve"], answered["reason"]) == (
        "mcpr_1",
        approve,
        "So be it.",
    )
