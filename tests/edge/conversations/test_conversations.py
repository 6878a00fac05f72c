"""Listing, reading and deleting conversations."""

import pytest

from edge.schemas import conversations
from models.auth.tenants import Tenant


def test_a_member_may_not_delete(http, signed):
    headers, _ = signed("member")
    assert http.simulate_delete("/api/v1/conversations/c1", headers=headers).status_code == 403


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=99999999999999999999", "limit="])
def test_a_limit_out_of_range_is_a_422(http, signed, query):
    headers, _ = signed()
    answer = http.simulate_get("/api/v1/conversations", headers=headers, query_string=query)
    assert answer.status_code == 422


@pytest.mark.parametrize("cursor", ["x", "MTIz", "a" * 3000])
def test_an_invalid_cursor_is_a_400(http, signed, cursor):
    headers, _ = signed()
    answer = http.simulate_get("/api/v1/conversations", headers=headers, query_string=f"cursor={cursor}")
    assert (answer.status_code, answer.json["message"]) == (400, "Invalid pagination cursor")


def test_conversations_are_hidden_from_colleagues_and_other_tenants(http, signed, ask_as):
    _, owner = signed("member")
    ask_as(owner, "secret", "diary")
    colleague, _ = signed("member")
    stranger, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"))
    for headers in (colleague, stranger):
        for path in ("/api/v1/conversations/diary", "/api/v1/conversations/diary/events"):
            assert http.simulate_get(path, headers=headers).status_code == 404
        assert http.simulate_get("/api/v1/conversations", headers=headers).json["items"] == []
    assert http.simulate_delete("/api/v1/conversations/diary", headers=stranger).status_code == 404


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/api/v1/conversations", conversations.ConversationListResponse),
        ("/api/v1/conversations/c1", conversations.ConversationHistory),
        ("/api/v1/conversations/c1/events", conversations.ConversationEventsResponse),
    ],
)
def test_an_answer_matches_its_schema(http, signed, ask_as, path, schema):
    headers, user = signed("owner")
    ask_as(user, "hello", "c1", role="owner")
    schema.model_validate(http.simulate_get(path, headers=headers).json, extra="forbid")
