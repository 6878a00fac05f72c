"""Attaching stored objects to a message: who may, how many, and what becomes of it."""

import pytest

from models.conversations.conversation import Conversation, Message
from models.platform.ids import uuid7
from models.runs.run import Run
from tests.support.storage import object_by
from workers.gateways import storage

PATHS = ("/api/v1/chat/stream", "/api/v1/workflows/analysis_code/run-stream")


@pytest.fixture
def post(http, signed):
    """post(objects, path=, headers=) -> the answer; the run is not waited for."""

    def sent(attachments, path="/api/v1/chat", headers=None, **more):
        body = {"message": "Look", "attachments": [str(each) for each in attachments], **more}
        return http.simulate_post(path, headers=headers or signed()[0], json=body)

    return sent


def nothing_is_stored():
    return Run.select().count() == Message.select().count() == Conversation.select().count() == 0


@pytest.mark.parametrize("path", PATHS)
def test_an_object_of_another_tenant_or_of_somebody_elses_conversation_is_a_404(post, person, tenant, ask, path):
    from models.auth.tenants import Tenant

    other = Tenant.create(slug="other", name="Other")
    foreign = object_by(None, other)
    theirs = ask(person(), "Mine")
    private = object_by(None, tenant, conversation_id=theirs.conversation_id)
    before = Message.select().count()
    for found in (foreign.id, private.id, uuid7()):
        answer = post([found], path)
        assert (answer.status_code, answer.json["error"]) == (404, "object_not_found")
    assert Message.select().count() == before and Run.select().count() == 1


@pytest.mark.parametrize("status", ["pending_upload", "rejected"])
def test_an_object_without_bytes_is_a_409(post, tenant, status, configure):
    configure(storage_wait_seconds=0)  # nobody looks for its bytes
    stored = object_by(None, tenant, status=status)
    answer = post([stored.id])
    assert (answer.status_code, answer.json["error"]) == (409, "object_not_ready")
    assert answer.json["details"]["object_id"] == str(stored.id) and nothing_is_stored()


def test_a_deleted_object_is_a_404(post, tenant):
    from models.platform.clock import now

    stored = object_by(None, tenant, status="deleted", deleted_at=now())
    assert post([stored.id]).status_code == 404 and nothing_is_stored()


@pytest.mark.parametrize("attachments", [["x"], [str(uuid7()) for _ in range(21)], [None], "abc"])
def test_attachments_are_at_most_twenty_ids(http, signed, attachments):
    body = {"message": "Look", "attachments": attachments}
    answer = http.simulate_post("/api/v1/chat", headers=signed()[0], json=body)
    assert answer.status_code == 422 and nothing_is_stored()


def test_the_attachments_of_a_message_have_a_size_together(post, tenant, configure):
    configure(attachments_max_mb=1)
    halves = [object_by(None, tenant, size_bytes=600_000) for _ in range(2)]
    answer = post([half.id for half in halves])
    assert (answer.status_code, answer.json["error"]) == (400, "attachments_too_large") and nothing_is_stored()


def test_service_accounts_have_no_objects(tenant):
    from models.conversations.attachments import resolve
    from models.platform.principal import Principal
    from models.storage.objects import ObjectNotFound

    machine = Principal(None, tenant.id, "viewer", frozenset({"conversations:write"}), None, True, account="bot")
    with pytest.raises(ObjectNotFound):
        resolve(machine, [object_by(None, tenant).id])


class TestKept:
    @pytest.fixture
    def me(self, signed):
        return signed()

    @pytest.fixture
    def asked(self, me, tenant, configure, http, s3):
        """asked(objects) -> the messages of the conversation, as its user reads them."""
        configure(chat_wait_seconds=0)

        def sent(*objects, **more):
            body = {
                "message": "Look",
                "conversation_id": "c1",
                "attachments": [str(each.id) for each in objects],
                **more,
            }
            http.simulate_post("/api/v1/chat", headers=me[0], json=body)
            return http.simulate_get("/api/v1/conversations/c1", headers=me[0]).json["messages"]

        return sent

    def test_a_message_shows_each_attachment_once_with_a_link(self, asked, tenant):
        stored = object_by(None, tenant)
        [message] = asked(stored, stored)
        [attachment] = message["attachments"]
        assert (attachment["object_id"], attachment["filename"]) == (str(stored.id), "notes.txt")
        assert attachment["url_missing"] is None and attachment["url"].startswith("http")
        assert "url" not in Message.get().attachments[0]

    def test_links_are_made_anew_for_each_reading(self, asked, tenant, http, me, monkeypatch):
        from edge import attachments

        [message] = asked(object_by(None, tenant))
        monkeypatch.setattr(attachments, "download_link", lambda stored: f"https://new/{stored.id}")
        again = http.simulate_get("/api/v1/conversations/c1", headers=me[0]).json["messages"]
        assert again[0]["attachments"][0]["url"] != message["attachments"][0]["url"]

    def test_a_link_that_cannot_be_made_is_null_with_a_reason(self, asked, tenant, http, me, configure):
        from models.platform.clock import now
        from models.storage.objects import StorageObject

        stored = object_by(None, tenant)
        asked(stored)

        def read():
            [message] = http.simulate_get("/api/v1/conversations/c1", headers=me[0]).json["messages"]
            return message["attachments"][0]["url"], message["attachments"][0]["url_missing"]

        configure(minio_endpoint=None)
        storage.forget()
        assert read() == (None, "storage_unavailable")
        StorageObject.update(deleted_at=now(), status="deleted").execute()
        assert read() == (None, "deleted")

    def test_a_repeated_request_gets_its_run_though_the_object_is_gone(self, http, me, tenant, configure, s3):
        from models.platform.clock import now
        from models.storage.objects import StorageObject

        configure(chat_wait_seconds=0)
        stored = object_by(None, tenant)
        body = {"message": "Look", "attachments": [str(stored.id)]}
        headers = {**me[0], "Idempotency-Key": "k"}
        first = http.simulate_post("/api/v1/chat", headers=headers, json=body)
        StorageObject.update(deleted_at=now()).execute()
        again = http.simulate_post("/api/v1/chat", headers=headers, json=body)
        assert again.headers["X-Run-Id"] == first.headers["X-Run-Id"]
        other = http.simulate_post("/api/v1/chat", headers=headers, json={"message": "Look"})
        assert (other.status_code, other.json["error"]) == (409, "idempotency_conflict")
