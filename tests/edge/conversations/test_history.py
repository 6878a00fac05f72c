"""Messages and events of a conversation, page by page."""

import pytest

from models.conversations import history
from models.conversations.conversation import Conversation, Message, RunEvent


@pytest.fixture
def conversation(signed, tenant):
    """conversation(size, content="...") -> headers of the owner of the conversation `c1`, with messages and events."""

    def make(size, content="word"):
        headers, user = signed()
        row = Conversation.create(
            tenant_id=tenant.id, user_id=user.id, key="c1", entry_agent="triage", message_count=size, event_count=size
        )
        common = [{"conversation": row.id, "role": "user"} for _ in range(size)]
        Message.insert_many(
            [{**columns, "position": n, "content": f"{n} {content}"} for n, columns in enumerate(common)]
        ).execute()
        RunEvent.insert_many(
            [
                {
                    **columns,
                    "sequence": n,
                    "type": "user_message",
                    "content_text": content,
                    "workflow_run_id": "w1" if n % 3 else None,
                }
                for n, columns in enumerate(common)
            ]
        ).execute()
        return headers

    return make


@pytest.fixture
def pages(http):
    """pages(headers, path, items, **params) -> the items of each page, the newest page first."""

    def read(headers, path, items, **params):
        found, cursor = [], None
        while True:
            more = {"cursor": cursor} if cursor else {}
            answer = http.simulate_get(f"/api/v1/conversations/{path}", headers=headers, params={**params, **more})
            assert answer.status_code == 200, answer.text
            found.append(answer.json[items])
            cursor = answer.json["next_cursor"]
            if cursor is None:
                return found

    return read


def positions(page):
    return [int(message["content"].split()[0]) for message in page]


def test_a_short_conversation_is_one_page_in_order(conversation, pages):
    assert [positions(page) for page in pages(conversation(20), "c1", "messages")] == [list(range(20))]


def test_pages_go_back_in_time_and_each_is_in_order(conversation, pages):
    found = [positions(page) for page in pages(conversation(7), "c1", "messages", limit=3)]
    assert found == [[4, 5, 6], [1, 2, 3], [0]]


def test_a_page_that_ends_with_the_first_message_is_the_last(conversation, pages):
    assert len(pages(conversation(6), "c1", "messages", limit=3)) == 2


def test_without_a_limit_the_newest_thousand_are_shown(conversation, pages):
    headers = conversation(1003)
    assert [positions(page) for page in pages(headers, "c1", "messages")] == [list(range(3, 1003)), [0, 1, 2]]
    assert [len(page) for page in pages(headers, "c1/events", "items")] == [1000, 3]


def test_large_messages_make_smaller_pages_of_at_least_one(conversation, pages, monkeypatch):
    headers = conversation(6, "x" * 100)
    monkeypatch.setattr(history, "LARGEST", 250)
    assert [positions(page) for page in pages(headers, "c1", "messages")] == [[3, 4, 5], [0, 1, 2]]
    monkeypatch.setattr(history, "LARGEST", 1)
    assert [positions(page) for page in pages(headers, "c1", "messages")] == [[n] for n in (5, 4, 3, 2, 1, 0)]
    assert [len(page) for page in pages(headers, "c1/events", "items", limit=4)] == [1] * 6


def test_messages_that_come_meanwhile_neither_move_nor_repeat_the_others(conversation, pages, http):
    headers = conversation(6)
    first = http.simulate_get("/api/v1/conversations/c1", headers=headers, params={"limit": 4}).json
    row = Conversation.get()
    Message.create(conversation=row.id, position=6, role="user", content="6 new")
    rest = http.simulate_get(
        "/api/v1/conversations/c1", headers=headers, params={"cursor": first["next_cursor"], "limit": 4}
    ).json
    assert positions([*rest["messages"], *first["messages"]]) == list(range(6))


def test_events_of_a_workflow_run_are_paged_alone(conversation, pages):
    headers = conversation(9)
    found = pages(headers, "c1/events", "items", workflow_run_id="w1", limit=4)
    assert [[event["sequence_no"] for event in page] for page in found] == [[4, 5, 7, 8], [1, 2]]
    assert pages(headers, "c1/events", "items", workflow_run_id="unknown") == [[]]


@pytest.mark.parametrize("path", ["c1", "c1/events"])
@pytest.mark.parametrize(
    ("query", "status"),
    [("limit=0", 422), ("limit=1001", 422), ("cursor=x", 400), ("cursor=LTE", 400), ("cursor=OTk5OTk5OTk5OTk5", 200)],
)
def test_a_limit_or_cursor_that_cannot_be_is_refused(conversation, http, path, query, status):
    headers = conversation(2)
    answer = http.simulate_get(f"/api/v1/conversations/{path}", headers=headers, query_string=query)
    assert answer.status_code == status
