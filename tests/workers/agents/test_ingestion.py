"""What agents make is kept in storage: real bytes in a real storage, and what is told when that cannot be done."""

import base64
import json

import pytest

from devstack.openai.images import png
from models.conversations.conversation import Message
from models.platform.database import database
from models.runs import progress
from models.storage.objects import StorageObject
from tests.support.models import collect, request
from tests.workers.agents.test_durable_chat import Killed, attempt, cut
from workers import chat
from workers.agents.catalog import Agent, Catalog, catalog
from workers.agents.journal import Journal
from workers.agents.loop import run_agent
from workers.gateways import storage
from workers.storage import writing
from workers.storage.reading import fetch

pytestmark = pytest.mark.usefixtures("provider", "s3")
DRAW = "Draw a lighthouse"


@pytest.fixture
def painter(monkeypatch, configure):
    """An agent that makes images, in the catalogue of this process."""
    configure(job_lease_seconds=-1, openai_wire="responses")  # a killed worker's job can be claimed again at once
    found = Agent("painter", "Painter", "Paints", "Paint.", tools=("image_generation",))
    monkeypatch.setitem(catalog().agents, "painter", found)
    return found


@pytest.fixture
def asked(person, ask, painter):
    """asked(message) -> the run of a question to the painter."""
    return lambda message=DRAW: ask(person(), message, agent="painter")


def events_of(run):
    return [json.loads(entry.data) for entry in progress.read(run.id, count=5000)]


def only_object():
    [found] = StorageObject.select()
    return found


def test_a_generated_image_is_an_object_of_the_conversation(asked):
    run = attempt(asked())
    stored = only_object()
    assert (stored.status, stored.mime_type, stored.agent_key) == ("ready", "image/png", "painter")
    assert (stored.tenant_id, stored.conversation_id, stored.creator_id) == (
        run.tenant_id,
        run.conversation_id,
        run.user_id,
    )
    assert fetch(stored).read() == png(DRAW, 96)
    answer = Message.get(Message.role == "assistant")
    [attachment] = answer.attachments
    assert attachment == {
        "object_id": str(stored.id),
        "filename": stored.filename,
        "mime_type": "image/png",
        "size_bytes": stored.size_bytes,
        "tool_call_id": stored.metadata["tool_call_id"],
    }
    assert attachment["filename"] == f"image-{attachment['tool_call_id']}.png"
    assert {"format", "quality", "background", "response_id", "size_bytes"} <= stored.metadata.keys()
    done = [event for event in events_of(run) if event["attachments"] and event["kind"] == "raw_response"]
    assert [event["attachments"] for event in done] == [[attachment]]
    assert done[0]["payload"]["_attachment_note"] == "stored"
    assert run.terminal["attachments"] == [attachment]


def test_no_image_is_in_the_database_or_on_the_stream(asked):
    run = attempt(asked())
    secret = base64.b64encode(png(DRAW, 96)).decode()[:60]
    tables = [row[0] for row in database.execute_sql("select tablename from pg_tables where schemaname = 'public'")]
    for table in tables:
        rows = database.execute_sql(f'select count(*) from "{table}" t where t::text like %s', (f"%{secret}%",))
        assert rows.fetchone() == (0,), table
    entries = progress.read(run.id, count=5000)
    assert b"partial_image" in b"".join(entry.data for entry in entries)
    assert not [entry for entry in entries if b"iVBORw0" in entry.data]


def test_after_a_kill_there_is_one_object_and_one_link(asked, monkeypatch):
    run = asked()
    with monkeypatch.context() as patch:
        patch.setattr(chat, "store", lambda *_: (_ for _ in ()).throw(Killed()))
        cut(run)
    first = only_object()
    run = attempt(run)
    assert run.state == "succeeded" and only_object().id == first.id
    [attachment] = Message.get(Message.role == "assistant").attachments
    assert attachment["object_id"] == str(first.id)


def test_after_a_kill_while_the_image_is_written_there_is_one_object_with_its_bytes(asked, monkeypatch):
    run = asked()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "put", lambda *_: (_ for _ in ()).throw(Killed()))
        cut(run)
    assert only_object().status == "pending_upload"
    assert attempt(run).state == "succeeded"
    assert fetch(only_object()).read() == png(DRAW, 96)


def test_a_replayed_response_keeps_its_image_and_stores_nothing(tenant, painter, monkeypatch, stats, provider):
    question = request(DRAW, "painter")
    question.tenant_id, question.user_id = tenant.id, None
    _, first = collect(run_agent(question))
    assert first.step.output["output"][0]["result"] is None
    monkeypatch.setattr(writing, "store", None)
    before = stats(provider)["responses"]
    _, again = collect(run_agent(question, journal=Journal([first.step])))
    assert again.attachments == first.attachments and stats(provider)["responses"] == before
    assert again.step is None


@pytest.mark.parametrize(
    ("message", "settings", "reason"),
    [
        ("[[image image_padding=1100000]]", {"image_output_max_mb": 1}, "too_large"),
        ("[[image]]", {"image_allowed_formats": "jpeg,webp"}, "format_not_allowed"),
        ("[[image]]", {"storage_max_total_bytes": 10}, "storage_full"),
        ("[[image]]", {"storage_allowed_mime_types": "text/plain"}, "mime_type_not_allowed"),
    ],
)
def test_an_image_that_cannot_be_kept_is_told_and_the_answer_comes_without_it(
    asked, configure, message, settings, reason
):
    configure(**settings)
    run = attempt(asked(f"{message} Paint"))
    assert run.state == "succeeded" and Message.get(Message.role == "assistant").attachments == []
    [failed] = [event for event in events_of(run) if event["event"] == "attachment_failed"]
    assert failed["payload"]["reason"] == reason and failed["tool_call_id"] == failed["payload"]["tool_call_id"]
    assert run.terminal["payload"]["attachments_failed"] == [failed["payload"]] == run.result["attachments_failed"]
    assert StorageObject.select().where(StorageObject.status == "ready").count() == 0


def test_a_storage_that_is_away_for_a_moment_is_asked_again(asked, monkeypatch):
    put, calls = storage.put, []

    def failing(*args):
        calls.append(args)
        if len(calls) == 1:
            raise storage.StorageUnavailable
        put(*args)

    monkeypatch.setattr(storage, "put", failing)
    monkeypatch.setattr("workers.agents.ingestion.PAUSES", (0.0, 0.0, 0.0))
    assert attempt(asked()).state == "succeeded" and len(calls) == 2 and only_object().status == "ready"


def test_a_storage_that_stays_away_is_told(asked, monkeypatch):
    monkeypatch.setattr(writing, "store", lambda *_, **__: (_ for _ in ()).throw(storage.StorageUnavailable()))
    monkeypatch.setattr("workers.agents.ingestion.PAUSES", (0.0,))
    run = attempt(asked())
    assert run.state == "succeeded" and run.result["attachments_failed"][0]["reason"] == "storage_unavailable"


def test_a_storage_that_is_silent_for_long_is_asked_once(asked, monkeypatch):
    """A minute for each attempt would keep the answer back for many minutes."""
    calls = []

    def silent(*_, **__):
        calls.append(1)
        raise storage.StorageUnavailable

    monkeypatch.setattr(writing, "store", silent)
    monkeypatch.setattr("workers.agents.ingestion.PATIENCE", -1.0)
    run = attempt(asked())
    assert run.state == "succeeded" and calls == [1]
    assert {one["reason"] for one in run.result["attachments_failed"]} == {"storage_unavailable"}


def test_what_an_agent_makes_that_was_asked_is_attached_to_the_answer(tenant, painter):
    boss = Agent("boss", "Boss", "Asks the painter", "Ask.", agent_tools=("painter",))
    agents = Catalog([boss, painter], catalog().tools)
    question = request(f'[[tool=ask_painter {{"input": "{DRAW}"}}]]', "boss")
    question.tenant_id, question.user_id = tenant.id, None
    _, result = collect(run_agent(question, agents=agents))
    assert [attachment["object_id"] for attachment in result.attachments] == [str(only_object().id)]
