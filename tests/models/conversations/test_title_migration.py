"""Conversations from before there were titles get one, and the migration can be repeated after an interruption."""

import importlib

from models.conversations.conversation import Conversation
from models.conversations.titles import title_of
from models.platform.database import database

migration = importlib.import_module("models.platform.migrations.0013_titles_and_summaries")


def test_old_conversations_are_named_by_their_first_question(person, ask, monkeypatch):
    monkeypatch.setattr(migration, "BATCH", 2)
    me = person()
    questions = {f"c{n}": f"  Question {n}: {'why so ' * n * 3}?" for n in range(5)}
    for key, question in questions.items():
        ask(me, question, key)
    Conversation.update(title=None).where(Conversation.key != "c3").execute()
    Conversation.update(title="Chosen").where(Conversation.key == "c3").execute()
    for _ in range(2):
        migration.up(None, database)
        titles = {row.key: row.title for row in Conversation.select()}
        assert titles == {key: title_of(question) for key, question in questions.items()} | {"c3": "Chosen"}
