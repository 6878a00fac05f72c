"""Paging through lists and searches while others insert, update and delete.

A conversation that does not change meanwhile is seen exactly once. One that is updated moves up: it is never seen twice.
"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.auth.tenants import Tenant
from models.conversations.conversation import Conversation, Message
from models.conversations.search import search
from models.platform.ids import uuid7
from models.platform.keyset import InvalidCursor, Keys
from models.platform.principal import Principal, scopes_for

START = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = st.integers(1, 3)
ROWS = st.lists(st.tuples(st.integers(0, 3), WORDS), max_size=12)  # (second of the last update, matching words)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), WORDS),
        st.tuples(st.just("update"), st.integers(0, 11), WORDS),
        st.tuples(st.just("delete"), st.integers(0, 11)),
        st.just(("read",)),
    ),
    max_size=12,
)


class Many:
    """The conversations of a tenant, and a reader who pages through them."""

    def __init__(self, rows):
        tenant = Tenant.create(slug=uuid7().hex, name="Many")
        self.admin = Principal(uuid7(), tenant.id, "admin", frozenset(scopes_for("admin")), None, True)
        self.ids, self.clock, self.changed = [], 10, set()
        for seconds, words in rows:
            self.add(words, START + timedelta(seconds=seconds))
        self.before = set(self.ids)

    def now(self):
        self.clock += 1
        return START + timedelta(seconds=self.clock)

    def add(self, words, at):
        row = Conversation.create(
            tenant_id=self.admin.tenant_id, key=uuid7().hex, entry_agent="triage", message_count=1, updated_at=at
        )
        self.say(row.id, 0, words)
        self.ids.append(row.id)

    def say(self, conversation_id, position, words):
        Message.create(conversation=conversation_id, position=position, role="user", content="heron " * words)

    def change(self, kind, *values):
        if kind == "insert":
            self.add(values[0], self.now())
        elif kind != "read" and values[0] < len(self.ids):
            row_id = self.ids[values[0]]
            self.changed.add(row_id)
            if kind == "delete":
                Conversation.delete().where(Conversation.id == row_id).execute()
            elif Conversation.update(updated_at=self.now()).where(Conversation.id == row_id).execute():
                self.say(row_id, self.clock, values[1])


@pytest.mark.parametrize("read", ["page", "search"])
@given(rows=ROWS, changes=CHANGES, limit=st.integers(1, 4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_does_not_change_is_seen_once_and_nothing_twice(clean, read, rows, changes, limit):
    many, changes = Many(rows), iter(changes)
    seen, cursor = [], None
    while True:
        if read == "page":
            page = Conversation.page(many.admin, limit, cursor)
        else:
            page = search(many.admin, "heron", limit, cursor)
        seen += [row.id for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        for change in changes:
            many.change(*change)
            if change == ("read",):
                break
    assert len(seen) == len(set(seen))
    assert many.before - many.changed <= set(seen)


@given(st.floats(allow_nan=False, allow_infinity=False), st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_gives_its_values_back_exactly(number, time, identifier):
    keys = Keys(float, datetime, type(identifier), int)
    values = [number, time, identifier, 7]
    assert keys.decode(keys.encode(values)) == values


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "x", ""])
def test_a_number_that_is_none_is_no_cursor(text):
    with pytest.raises(InvalidCursor):
        Keys(float).decode(Keys(str).encode([text]))


@pytest.mark.parametrize("text", ["-1", str(2**63), "1.5", "x", "9" * 5000])
def test_an_integer_out_of_range_is_no_cursor(text):
    with pytest.raises(InvalidCursor):
        Keys(int).decode(Keys(str).encode([text]))
