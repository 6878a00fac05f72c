"""Asking an agent: what is refused before a run starts. Answers need a worker and are tested in tests/flows."""

import pytest

from models.platform import limits
from models.platform.redis import redis_client
from models.runs.run import Run


def test_a_viewer_may_not_ask(http, signed):
    headers, _ = signed("viewer")
    assert http.simulate_post("/api/v1/chat", headers=headers, json={"message": "hi"}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"message": "   "},
        {"message": "x" * 100_001},
        {"message": "hi", "conversation_id": "c" * 256},
        {"message": "hi", "conversation_id": ""},
        {"message": "hi", "run_options": {"max_turns": 0}},
        {"message": "hi", "run_options": {"max_turns": 51}},
        {"message": "hi", "run_options": {"handoff_input_filter": "sideways"}},
        {"message": "hi", "run_options": {"run_config": {"model": "gpt-expensive"}}},
        {"message": "hi", "run_options": {"run_config": {"input_guardrails": []}}},
        {"message": "hi", "run_options": {"run_config": {"model_settings": {"temperature": 9}}}},
        {"message": "hi", "context": {"x": "y" * 20_000}},
    ],
)
def test_an_invalid_question_is_a_422_and_starts_no_run(http, signed, body):
    headers, _ = signed()
    assert http.simulate_post("/api/v1/chat/stream", headers=headers, json=body).status_code == 422
    assert Run.select().count() == 0


def test_a_problem_is_told_in_our_words_only(http, signed):
    answer = http.simulate_post("/api/v1/chat", headers=signed()[0], json={"message": " "})
    assert answer.json["details"] == [{"loc": ["body", "message"], "msg": "must not be blank", "type": "value_error"}]


def test_an_unknown_agent_is_a_404_not_replaced_by_another(http, signed):
    headers, _ = signed()
    answer = http.simulate_post("/api/v1/chat", headers=headers, json={"message": "hi", "agent_type": "nobody"})
    assert (answer.status_code, answer.json["error"]) == (404, "agent_not_found")


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel"])
def test_an_idempotency_key_must_be_printable_and_short(http, signed, key):
    headers, _ = signed()
    headers["Idempotency-Key"] = key.encode().decode("latin-1")
    assert http.simulate_post("/api/v1/chat/stream", headers=headers, json={"message": "hi"}).status_code == 422


def test_the_rate_limit_says_when_to_retry(http, signed, tenant, configure):
    configure(chat_rate_limit_per_minute=1)
    headers, user = signed()
    limits.hit("chat_per_minute", 1, 60, tenant.id, f"user:{user.id}")
    answer = http.simulate_post("/api/v1/chat", headers=headers, json={"message": "hi"})
    assert answer.status_code == 429 and 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.json["message"].startswith("Rate limit exceeded (chat_per_minute). Retry after ")


def test_a_stream_over_the_limit_is_refused_until_a_slot_is_free(http, signed, tenant, configure):
    configure(chat_stream_concurrent_limit=1)
    headers, user = signed()
    slot = limits.Slot.take("chat_stream_concurrency", 1, tenant.id, f"user:{user.id}")
    answer = http.simulate_post("/api/v1/chat/stream", headers=headers, json={"message": "hi"})
    assert (answer.status_code, answer.json["error"]) == (429, "rate_limit_exceeded")
    slot.release()
    assert limits.Slot.take("chat_stream_concurrency", 1, tenant.id, f"user:{user.id}")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stream_that_fails_to_start_releases_its_slot(http, signed, ask_as, tenant, monkeypatch, method):
    from edge import relay

    def fail(*args, **options):
        raise RuntimeError("no stream today")

    headers, user = signed()
    run = ask_as(user)
    monkeypatch.setattr(relay, "Body", fail)
    path = f"/api/v1/runs/{run.id}/stream" if method == "GET" else "/api/v1/chat/stream"
    body = {"message": "hi"} if method == "POST" else None
    assert http.simulate_request(method, path, headers=headers, json=body).status_code == 500
    assert redis_client().keys("*concurrency*") == []
    assert limits.Slot.take("chat_stream_concurrency", 1, tenant.id, f"user:{user.id}")
