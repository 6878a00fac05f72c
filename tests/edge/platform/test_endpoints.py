"""The endpoints one by one, as far as no worker is needed."""

import pytest

from models.auth.tenants import Tenant
from models.auth.users import Membership, User
from models.platform.redis import redis_client
from tests.support.accounts import add_user


def token(http, email, password="correct horse battery", **more):
    return http.simulate_post("/api/v1/auth/token", json={"email": email, "password": password, **more})


@pytest.fixture
def user(tenant):
    return add_user("Jo@Example.com", "correct horse battery", tenant=tenant, role="member", verified=True)


def test_signing_in_gives_a_pair_of_tokens_and_no_cache_keeps_them(http, user, tenant):
    answer = token(http, "JO@example.COM")
    assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"
    assert answer.json["scopes"] == ["conversations:read", "conversations:write", "tools:read"]
    me = http.simulate_get("/api/v1/auth/me", headers={"Authorization": f"Bearer {answer.json['access_token']}"}).json[
        "data"
    ]
    assert (me["user_id"], me["token_payload"]["sid"]) == (str(user.id), answer.json["session_id"])
    assert me["memberships"] == [{"tenant_id": str(tenant.id), "slug": "acme", "name": "Acme", "role": "member"}]


def test_a_wrong_password_and_an_unknown_address_look_the_same(http, user):
    wrong, unknown = token(http, "jo@example.com", "wrong password"), token(http, "nobody@example.com")
    assert wrong.status_code == unknown.status_code == 401
    assert {**wrong.json, "correlation_id": 0} == {**unknown.json, "correlation_id": 0}


@pytest.mark.parametrize("status", ["disabled", "pending"])
def test_an_inactive_account_is_told_so_only_after_the_right_password(http, user, status):
    User.update(status=status).execute()
    assert token(http, "jo@example.com", "wrong password").status_code == 401
    assert token(http, "jo@example.com").status_code == 403


def test_who_belongs_to_several_tenants_chooses_one(http, user, tenant):
    other = Tenant.create(slug="other", name="Other")
    Membership.create(user=user.id, tenant=other.id, role="owner")
    answer = token(http, "jo@example.com")
    assert answer.status_code == 400
    assert answer.json["details"]["tenants"] == sorted([str(tenant.id), str(other.id)])
    assert token(http, "jo@example.com", tenant_id=str(other.id)).json["tenant_id"] == str(other.id)
    assert token(http, "jo@example.com", tenant_id=str(user.id)).status_code == 401
    assert token(http, "jo@example.com", tenant_id="nonsense").status_code == 401


def test_a_refresh_token_works_once_and_its_second_use_ends_the_session(http, user):
    first = token(http, "jo@example.com").json
    second = http.simulate_post("/api/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert second.status_code == 200 and second.json["session_id"] == first["session_id"]
    again = http.simulate_post("/api/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert again.status_code == 401
    after = http.simulate_post("/api/v1/auth/refresh", json={"refresh_token": second.json["refresh_token"]})
    assert after.status_code == 401


def test_of_parallel_refreshes_at_most_one_succeeds(http, user):
    import threading

    from models.auth.token_refresh import refresh
    from models.auth.tokens import InvalidRefreshToken
    from models.platform.database import release

    refresh_token, answers = token(http, "jo@example.com").json["refresh_token"], []

    def exchange():
        try:
            answers.append(refresh(refresh_token))
        except InvalidRefreshToken:
            pass
        finally:
            release()

    threads = [threading.Thread(target=exchange) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(answers) == 1


@pytest.mark.parametrize("given", ["x", "a.b.c", "access"])
def test_what_is_no_refresh_token_is_refused(http, user, given):
    value = token(http, "jo@example.com").json["access_token"] if given == "access" else given
    assert http.simulate_post("/api/v1/auth/refresh", json={"refresh_token": value}).status_code == 401


def test_agents_and_tools_are_listed(http, signed):
    headers, _ = signed("viewer")
    agents = http.simulate_get("/api/v1/agents", headers=headers).json
    assert [agent["name"] for agent in agents] == ["code_assistant", "data_analyst", "triage"]
    tools = http.simulate_get("/api/v1/tools", headers=headers).json
    assert {"get_current_time", "search_conversations"} <= set(tools["tool_names"])
    assert tools["total_tools"] == len(tools["tools"])
    unknown = http.simulate_get("/api/v1/agents/nobody/status", headers=headers)
    assert (unknown.status_code, unknown.json["message"]) == (404, "Agent 'nobody' not found")


def test_an_agents_status_counts_real_conversations(http, signed, ask, tenant):
    from models.platform.principal import Principal

    headers, user = signed()
    ask(Principal(user.id, tenant.id, "member"), "hello", "c1")
    status = http.simulate_get("/api/v1/agents/triage/status", headers=headers).json
    assert status["total_conversations"] == 1 and status["last_used"].endswith("Z")


def test_a_viewer_may_not_ask_and_a_member_may_not_delete(http, signed):
    viewer, _ = signed("viewer")
    member, _ = signed("member")
    assert http.simulate_post("/api/v1/chat", headers=viewer, json={"message": "hi"}).status_code == 403
    assert http.simulate_delete("/api/v1/conversations/c1", headers=member).status_code == 403


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
def test_a_question_out_of_bounds_is_refused_and_leaves_nothing(http, signed, body):
    from models.runs.run import Run

    headers, _ = signed()
    assert http.simulate_post("/api/v1/chat/stream", headers=headers, json=body).status_code == 422
    assert Run.select().count() == 0


def test_an_unknown_agent_is_not_silently_replaced(http, signed):
    headers, _ = signed()
    answer = http.simulate_post("/api/v1/chat", headers=headers, json={"message": "hi", "agent_type": "nobody"})
    assert (answer.status_code, answer.json["error"]) == (404, "agent_not_found")


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel"])
def test_an_idempotency_key_must_be_printable_and_short(http, signed, key):
    headers, _ = signed()
    given = {**headers, "Idempotency-Key": key.encode().decode("latin-1")}
    assert http.simulate_post("/api/v1/chat/stream", headers=given, json={"message": "hi"}).status_code == 422


def test_chats_beyond_the_limit_are_told_when_to_come_back(http, signed, tenant, configure):
    from models.platform import limits

    configure(chat_rate_limit_per_minute=1)
    headers, user = signed()
    limits.hit("chat_per_minute", 1, 60, tenant.id, f"user:{user.id}")
    refused = http.simulate_post("/api/v1/chat", headers=headers, json={"message": "hi"})
    assert refused.status_code == 429 and 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json["message"].startswith("Rate limit exceeded (chat_per_minute). Retry after ")


def test_streams_beyond_the_limit_are_refused_until_one_is_given_back(http, signed, tenant, configure):
    from models.platform import limits

    configure(chat_stream_concurrent_limit=1)
    headers, user = signed()
    slot = limits.Slot.take("chat_stream_concurrency", 1, tenant.id, f"user:{user.id}")
    given = {**headers, "X-Correlation-ID": "chosen-by-the-client"}
    refused = http.simulate_post("/api/v1/chat/stream", headers=given, json={"message": "hi"})
    assert (refused.status_code, refused.json["error"]) == (429, "rate_limit_exceeded")
    slot.release()
    assert limits.Slot.take("chat_stream_concurrency", 1, tenant.id, f"user:{user.id}")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=99999999999999999999", "limit="])
def test_absurd_limits_are_refused(http, signed, query):
    headers, _ = signed()
    answer = http.simulate_get("/api/v1/conversations", headers=headers, query_string=query)
    assert answer.status_code in (200, 422) and (answer.status_code == 422 or query == "limit=")


@pytest.mark.parametrize("cursor", ["x", "MTIz", "a" * 3000])
def test_an_absurd_list_cursor_is_a_400(http, signed, cursor):
    headers, _ = signed()
    answer = http.simulate_get("/api/v1/conversations", headers=headers, query_string=f"cursor={cursor}")
    assert (answer.status_code, answer.json["message"]) == (400, "Invalid pagination cursor")


@pytest.mark.parametrize(
    ("header", "query"),
    [
        ("-1", ""),
        ("1e3", ""),
        ("9" * 30, ""),
        ("1-0", ""),
        (None, "after=-1"),
        (None, "after=x"),
        (None, "after=" + "9" * 30),
    ],
)
def test_an_absurd_stream_cursor_is_a_422(http, signed, ask, tenant, header, query):
    from models.platform.principal import Principal

    headers, user = signed()
    run = ask(Principal(user.id, tenant.id, "member"))
    given = {**headers, **({"Last-Event-ID": header} if header else {})}
    answer = http.simulate_get(f"/api/v1/runs/{run.id}/stream", headers=given, query_string=query)
    assert answer.status_code == 422


def test_another_tenants_and_another_members_things_are_unknown(http, signed, ask, tenant):
    from models.platform.principal import Principal

    _, owner = signed("member")
    run = ask(Principal(owner.id, tenant.id, "member"), "secret", "diary")
    colleague, _ = signed("member")
    stranger, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"))
    for headers in (colleague, stranger):
        for path in (
            "/api/v1/conversations/diary",
            "/api/v1/conversations/diary/events",
            f"/api/v1/runs/{run.id}",
            f"/api/v1/runs/{run.id}/stream",
        ):
            assert http.simulate_get(path, headers=headers).status_code == 404
        assert http.simulate_post(f"/api/v1/runs/{run.id}/cancel", headers=headers).status_code == 404
        assert http.simulate_get("/api/v1/conversations", headers=headers).json["items"] == []
    assert http.simulate_delete("/api/v1/conversations/diary", headers=stranger).status_code == 404


def test_answers_fit_the_schemas_that_describe_them(http, signed, ask, tenant):
    from edge.schemas import agents, conversations, runs
    from models.platform.principal import Principal

    headers, user = signed("owner")
    run = ask(Principal(user.id, tenant.id, "owner"), "hello", "c1")
    for path, schema in (
        ("/api/v1/conversations", conversations.ConversationListResponse),
        ("/api/v1/conversations/c1", conversations.ConversationHistory),
        ("/api/v1/conversations/c1/events", conversations.ConversationEventsResponse),
        (f"/api/v1/runs/{run.id}", runs.RunResponse),
        ("/api/v1/agents/triage/status", agents.AgentStatus),
    ):
        schema.model_validate(http.simulate_get(path, headers=headers).json, extra="forbid")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stream_that_cannot_begin_gives_its_slot_back(http, signed, ask, tenant, monkeypatch, method):
    from edge import relay
    from models.platform import limits
    from models.platform.principal import Principal

    def fail(*args, **more):
        raise RuntimeError("no stream today")

    headers, user = signed()
    run = ask(Principal(user.id, tenant.id, "member"))
    monkeypatch.setattr(relay, "Body", fail)
    path = f"/api/v1/runs/{run.id}/stream" if method == "GET" else "/api/v1/chat/stream"
    answer = http.simulate_request(method, path, headers=headers, json={"message": "hi"} if method == "POST" else None)
    assert answer.status_code == 500
    assert redis_client().keys("*concurrency*") == []
    assert limits.Slot.take("chat_stream_concurrency", 1, tenant.id, f"user:{user.id}")
