"""The documents attached to messages: read once, in a child process, and given to the model as text."""

import pytest

from models.conversations import attachment_texts
from models.conversations.attachment_texts import Text
from models.conversations.conversation import Conversation, Message
from models.platform.database import database
from models.storage.objects import StorageObject
from tests.support.documents import pdf
from tests.workers.agents.test_durable_chat import attempt, events_of
from workers.agents import documents
from workers.gateways import storage
from workers.storage.writing import store

pytestmark = pytest.mark.usefixtures("provider", "s3")
ECHO = "[[echo_history]]"


@pytest.fixture
def me(person):
    return person("admin")


@pytest.fixture
def keep(me):
    """keep(name, data, mime_type) -> the stored object."""

    def kept(name, data, mime_type="text/plain"):
        return store(me.tenant_id, name=name, data=data, mime_type=mime_type, source=name)

    return kept


@pytest.fixture
def say(me, configure):
    """say(*objects, message=) -> the run, answered."""
    from models.conversations import asking
    from models.platform.database import transaction
    from workers.jobs import CHAT_RUN, enqueue

    configure(job_lease_seconds=-1, openai_wire="responses")

    def asked(*objects, message=ECHO):
        with transaction():
            ids = tuple(one.id for one in objects)
            run, _ = asking.ask(me, asking.Question(message, "triage", "c1", attachments=ids))
            enqueue(CHAT_RUN, run_id=run.id, tenant_id=run.tenant_id)
        return attempt(run)

    return asked


def reply(run):
    return run.result["response"]


def unread(run):
    return [event["payload"]["reason"] for event in events_of(run) if event["event"] == "attachment_unread"]


def test_the_model_reads_a_document_of_the_question_and_of_earlier_ones(keep, say, monkeypatch):
    run = say(keep("plan.pdf", pdf(["Ships leave at noon", "and come back at six"]), "application/pdf"))
    assert "Ships leave at noon" in reply(run) and "and come back at six" in reply(run) and unread(run) == []
    monkeypatch.setattr(documents, "_extracted", None)
    assert "Ships leave at noon" in reply(say()), "it was kept, and is not read again"


def test_the_text_goes_with_the_conversation_and_outlives_the_object(keep, say, me):
    notes = keep("notes.txt", b"Mind the tide")
    say(notes)
    StorageObject.update(deleted_at=notes.created_at, status="deleted").execute()
    assert "Mind the tide" in reply(say())
    Conversation.remove(me, "c1")
    assert database.execute_sql("select count(*) from attachment_text").fetchone() == (0,)


def test_a_file_that_cannot_be_read_is_told_to_the_model_and_to_the_client(keep, say):
    run = say(keep("locked.pdf", pdf(["secret"], encrypt=True), "application/pdf"))
    assert "The attached file locked.pdf could not be read" in reply(run) and "password" in reply(run)
    assert unread(run) == ["The file is protected by a password."]


def test_a_document_that_was_deleted_since_is_told(keep, say, monkeypatch):
    notes = keep("notes.txt", b"Mind the tide")
    monkeypatch.setattr(
        documents.StorageObject, "of_tenant", lambda *_: (_ for _ in ()).throw(documents.ObjectNotFound())
    )
    assert unread(say(notes)) == [documents.GONE]


def test_a_storage_that_is_away_is_told_and_asked_again_by_another_attempt(keep, say, configure):
    notes = keep("notes.txt", b"Mind the tide")
    configure(minio_endpoint="127.0.0.1:9")
    storage.forget()
    run = say(notes)
    assert run.state == "succeeded" and unread(run) == [documents.AWAY]
    assert database.execute_sql("select count(*) from attachment_text").fetchone() == (0,)


def test_a_long_document_is_cut_to_half_of_what_the_model_may_be_given(keep, say, configure):
    configure(agent_context_tokens=2000)
    run = say(keep("long.txt", b"word " * 100_000))
    assert 3000 < reply(run).count("word") * 5 < 4500 and "[cut: the document is longer]" in reply(run)
    assert len(database.execute_sql("select text from attachment_text").fetchone()[0]) <= documents.LONGEST + 100


def test_the_texts_of_many_documents_are_bounded_together(keep, say, configure):
    configure(agent_context_tokens=2000)
    run = say(*(keep(f"{number}.txt", f"number {number} ".encode() * 300) for number in range(4)))
    assert "number 0" in reply(run) and reply(run).count("number") * 9 < 4500


def test_of_earlier_documents_the_newest_that_fit_are_shown(keep, say, configure):
    say(keep("1.txt", b"first " * 500), message="[[text=ok]]")
    say(keep("2.txt", b"second " * 400), message="[[text=ok]]")
    configure(agent_context_tokens=2000)
    answered = reply(say())
    assert "second" in answered and "first" not in answered.replace("attached first", "")


def test_another_tenants_object_in_a_message_is_not_read(keep, say, tenant):
    """A message cannot have one; if it had, nothing of it would be read."""
    from models.auth.tenants import Tenant

    other = Tenant.create(slug="other", name="Other")
    notes = keep("notes.txt", b"Mind the tide")
    run = say(notes, message="[[text=ok]]")
    StorageObject.update(tenant_id=other.id).execute()
    database.execute_sql("delete from attachment_text")
    assert documents.GONE in reply(say()) and run.state == "succeeded"


def test_a_text_is_kept_once_and_not_for_a_message_that_is_gone(say, keep):
    say(keep("a.txt", b"one"))
    message = Message.get(Message.role == "user")
    [stored] = StorageObject.select()
    attachment_texts.save(message.id, stored.id, Text("two", None))
    assert attachment_texts.load([message.id], 100)[message.id, stored.id] == Text("one", None)
    attachment_texts.save(stored.id, stored.id, Text("three", None))
    attachment_texts.save(message.id, message.id, Text(None, "r" * 1000 + "\0"))
    assert len(attachment_texts.load([message.id], 100)[message.id, message.id].reason) == 200
