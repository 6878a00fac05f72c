"""Searching conversations: who finds what, in which order, with which text around it."""

import pytest

from edge.schemas.conversations import ConversationSearchResponse
from models.auth.tenants import Tenant
from models.conversations.conversation import Conversation, Message
from models.platform.clock import now
from models.platform.ids import uuid7
from tests.support.crowd import crowd

NOISE = "Lorem ipsum dolor sit amet, consectetur adipiscing elit. "


@pytest.fixture
def find(http):
    """find(headers, q, ...) -> the answer of a search."""
    return lambda headers, q, **more: http.simulate_get(
        "/api/v1/conversations/search", headers=headers, params={"q": q, **more}
    )


@pytest.fixture
def say(tenant):
    """say(user, key, "first message", ...) stores a conversation with these messages."""

    def store(user, key, *texts, agent="triage", tenant=tenant, **columns):
        conversation = Conversation.create(
            tenant_id=tenant.id,
            user_id=user.id,
            key=key,
            entry_agent=agent,
            message_count=len(texts),
            last_message=texts[-1][:160],
            **columns,
        )
        for position, text in enumerate(texts):
            role = "assistant" if position % 2 else "user"
            Message.create(conversation=conversation.id, position=position, role=role, content=text)
        return conversation

    return store


def keys(answer):
    assert answer.status_code == 200, answer.text
    return [item["conversation_id"] for item in answer.json["items"]]


def test_all_words_have_to_be_in_one_message_of_any_role(find, say, signed):
    headers, user = signed()
    say(user, "both", "Hello", "The herons were nesting.")
    say(user, "apart", "A heron", "A nest")
    say(user, "neither", "Lorem")
    answer = find(headers, "nests heron")
    ConversationSearchResponse.model_validate(answer.json, extra="forbid")
    assert keys(answer) == ["both"]
    assert keys(find(headers, "the")) == [], "stop words find nothing"


def test_the_best_message_counts_and_relevance_beats_recency(find, say, signed):
    headers, user = signed()
    say(user, "best", "heron", "heron heron heron heron")
    say(user, "good", "heron", "heron")
    say(user, "newest", "Lorem", "heron heron")
    answer = find(headers, "heron")
    assert keys(answer) == ["best", "newest", "good"]
    scores = [item["score"] for item in answer.json["items"]]
    assert scores == sorted(scores, reverse=True) and scores[2] > 0


def test_equal_scores_are_ordered_by_the_last_update(find, say, signed):
    headers, user = signed()
    for key in ("one", "two", "three"):
        say(user, key, "heron")
    Conversation.update(updated_at=now()).where(Conversation.key == "one").execute()
    assert keys(find(headers, "heron")) == ["one", "three", "two"]


def test_members_find_their_own_admins_all_of_the_tenants_and_strangers_nothing(find, say, signed):
    headers, user = signed()
    colleague, _ = signed()
    admin, _ = signed("admin")
    other = Tenant.create(slug="other", name="Other")
    stranger, there = signed("owner", tenant=other)
    say(user, "mine", "secret heron")
    say(there, "theirs", "secret heron", tenant=other)
    assert [keys(find(who, "heron")) for who in (headers, colleague, admin, stranger)] == [
        ["mine"],
        [],
        ["mine"],
        ["theirs"],
    ]


def test_the_agent_filter_takes_the_last_requested_agent(find, say, signed):
    headers, user = signed()
    say(user, "a", "heron", agent="triage")
    say(user, "b", "heron", agent="data_analyst")
    assert keys(find(headers, "heron", agent="data_analyst")) == ["b"]
    assert keys(find(headers, "heron", agent="none")) == []


def test_a_chosen_title_is_found_and_a_made_one_is_found_by_its_message(find, say, signed, http):
    headers, user = signed()
    say(user, "c1", "Lorem", "ipsum")
    say(user, "c2", "Lorem heron", "dolor", title="Lorem heron")
    http.simulate_patch("/api/v1/conversations/c1", json={"title": "About herons"}, headers=headers)
    answer = find(headers, "heron")
    assert sorted(keys(answer)) == ["c1", "c2"]
    assert {item["conversation_id"]: item["preview"] for item in answer.json["items"]} == {
        "c1": "ipsum",
        "c2": "Lorem heron",
    }


@pytest.mark.parametrize(
    ("content", "query", "shown"),
    [
        (NOISE * 50 + "Here the herons were nesting by the pond. " + NOISE * 50, "nest", "herons were nesting by"),
        (NOISE * 50 + "they carried happiness home", "happy", "happiness home"),
        (NOISE * 1800 + "the last word is heron", "herons", "last word is heron"),
        ("An early heron\n\n\tin lines " + NOISE * 9, "heron", "An early heron in lines Lorem"),
        (NOISE * 9 + "Grey heron, but first the words: a heron is grey", "heron is grey", "a heron is grey"),
        (NOISE * 9 + "<b onclick='x()'>heron</b> & <script>", "heron", "<b onclick='x()'>heron</b> & <script>"),
        ("x" * 3000 + " heron", "heron", "heron"),
        (NOISE * 9 + "mail heron.pond@example.com now", "heron.pond@example.com", "heron.pond@example.com"),
    ],
)
def test_a_preview_is_the_text_around_the_match(find, say, signed, content, query, shown):
    headers, user = signed()
    say(user, "c1", content, "the end")
    [item] = find(headers, query).json["items"]
    assert shown in item["preview"]
    assert len(item["preview"]) <= 160


@pytest.mark.parametrize("cut", [True, False])
def test_a_preview_begins_and_ends_between_words(find, say, signed, cut):
    headers, user = signed()
    content = NOISE * 9 + "heron " + NOISE * 9 if cut else "A short heron."
    say(user, "c1", content)
    preview = find(headers, "heron").json["items"][0]["preview"]
    words = preview.strip("…").split()
    assert set(words) <= set(content.split())
    assert preview.startswith("…") is preview.endswith("…") is cut


@pytest.mark.parametrize("query", ["", " ", "\t\n", "  \u3000 "])
def test_a_blank_query_finds_nothing(find, signed, query):
    headers, _ = signed()
    answer = find(headers, query)
    if query:
        assert (answer.status_code, answer.json) == (200, {"items": [], "next_cursor": None})
    else:
        assert answer.status_code == 422


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("heron & ! | <-> ( ) :* 'x \\ % %s", 200),
        ("' or 1=1; drop table message; --", 200),
        ("\\m(.*)+ [[:<:]] {1,9} ^$", 200),
        ("🦤 鷺 цапля", 200),
        ("w " * 500, 200),
        ("a heron " * 1250, 422),
        ("nul \0", 422),
    ],
)
def test_an_odd_query_has_a_clear_answer(find, say, signed, query, status):
    headers, user = signed()
    say(user, "c1", "Nothing of the kind (.*)+ % \\m")
    assert find(headers, query).status_code == status


def test_regular_expressions_in_a_query_are_plain_text(find, say, signed):
    headers, user = signed()
    say(user, "c1", NOISE * 9 + "see docs/heron.pond+grey/(a|b) there")
    assert "heron.pond+grey" in find(headers, "docs/heron.pond+grey").json["items"][0]["preview"]


@pytest.mark.parametrize("limit", ["0", "51", "x", ""])
def test_a_limit_out_of_range_is_a_422(find, signed, limit):
    headers, _ = signed()
    assert find(headers, "heron", limit=limit).status_code == 422


@pytest.mark.parametrize("cursor", ["x", "MTIz", "a" * 3000, "bmFufDIwMjYtMDEtMDF8eA"])
def test_an_invalid_cursor_is_a_400(find, signed, cursor):
    headers, _ = signed()
    answer = find(headers, "heron", cursor=cursor)
    assert (answer.status_code, answer.json["message"]) == (400, "Invalid search pagination cursor")


def test_searches_are_limited_per_user(find, signed, configure):
    configure(conversation_search_rate_limit_per_minute=2)
    headers, _ = signed()
    other, _ = signed()
    assert [find(headers, "heron").status_code for _ in range(3)] == [200, 200, 429]
    limited = find(headers, "heron")
    assert "conversation_search_per_minute" in limited.json["message"] and int(limited.headers["Retry-After"]) >= 1
    assert find(other, "heron").status_code == 200


def test_a_hundred_searches_at_once_have_the_same_answer(find, say, signed, configure):
    configure(conversation_search_rate_limit_per_minute=0)
    headers, user = signed()
    for n in range(30):
        say(user, f"c{n}", f"{'heron ' * (n % 5 + 1)}")
    answers = crowd(100, lambda _: find(headers, "heron", limit=10))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1


def test_a_conversation_cannot_take_the_name_of_the_endpoint(http, signed):
    headers, _ = signed()
    body = {"message": "Hello", "conversation_id": "search"}
    assert http.simulate_post("/api/v1/chat", json=body, headers=headers).status_code == 422


def test_a_message_of_the_largest_size_is_found_at_once(find, say, signed):
    headers, user = signed()
    for n in range(3):
        say(user, f"c{n}", f"{uuid7()} " * 2700, "heron " * 16_000)
    assert len(keys(find(headers, "heron"))) == 3
