"""The Responses wire of servers that are not quite like OpenAI, and what is sent on it."""

from contextlib import nullcontext

import pytest

from workers.agents.providers import client, responses
from workers.agents.providers.errors import ProviderError
from workers.agents.providers.models_file import Provider, Target

TARGET = Target(Provider(name="local"), "m")
QUESTION, REASONING = {"role": "user", "content": "hi"}, {"type": "reasoning", "summary": []}


@pytest.fixture
def stream(monkeypatch):
    """stream(events, request) -> (the events that come out, the body that was sent)."""

    def run(events, **request):
        sent = []

        def answer(provider, path, body, wait):
            sent.append((path, body))
            yield from events

        monkeypatch.setattr(client, "stream", answer)
        found = list(responses.stream(TARGET, {"input": [QUESTION], **request}, nullcontext))
        return found, sent[0]

    return run


def test_an_end_mark_is_skipped_and_an_error_without_a_type_fails_the_answer(stream):
    event = {"type": "response.created"}
    assert stream([event, client.DONE])[0] == [event]
    with pytest.raises(ProviderError) as failed:
        stream([event, {"error": {"code": 429, "message": "busy"}}])
    assert failed.value.code == "provider_rate_limited"


def test_only_encrypted_reasoning_is_sent_back(stream):
    encrypted = {**REASONING, "encrypted_content": "x"}
    _, (path, body) = stream([], input=[QUESTION, REASONING, encrypted])
    assert path == "/responses" and body["stream"] is True
    assert body["input"] == [QUESTION, encrypted]


def test_a_provider_that_has_the_conversation_gets_the_question_only(stream):
    _, (_, body) = stream([], input=[{"role": "user", "content": "old"}, QUESTION], previous_response_id="resp_1")
    assert body["input"] == [QUESTION] and body["previous_response_id"] == "resp_1"
