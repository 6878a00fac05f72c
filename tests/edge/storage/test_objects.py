"""Lists, visibility and deletion of stored objects."""

import pytest

from models.conversations.conversation import Conversation
from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.principal import Principal, scopes_for
from models.storage.objects import StorageObject
from tests.support.routes import assert_envelope
from tests.support.standin import eventually
from tests.support.storage import Store, keys, object_by, work
from workers.storage import buckets


@pytest.fixture
def member_with(http, signed, ask, tenant):
    """member_with(key) -> (their endpoints, their principal), who has a conversation of this key."""

    def make(key, role="member"):
        headers, user = signed(role)
        principal = Principal(user.id, tenant.id, role, frozenset(scopes_for(role)), None, True)
        ask(principal, "Hello", key)
        return Store(http, headers), principal

    return make


KEY = "8d7f1c1e-5a54-4f0b-9a35-6cf6c53b8d11"


def test_an_object_of_a_conversation_is_for_those_who_may_read_it(member_with, store, worker):
    author, _ = member_with(KEY)
    shown = author.upload(conversation_id=KEY)
    assert shown["conversation_id"] == KEY
    for caller, is_seen in ((author, True), (store("admin"), True), (store(), False), (store("viewer"), False)):
        assert [item["id"] for item in caller.listed()["items"]] == ([shown["id"]] if is_seen else [])
        assert [item["id"] for item in caller.listed(conversation_id=KEY)["items"]] == (
            [shown["id"]] if is_seen else []
        )
        assert caller.download_url(shown["id"]).status_code == (200 if is_seen else 404)
    assert_envelope(store().announce(conversation_id=KEY), 404, "conversation_not_found")
    assert author.listed(conversation_id="00000000-0000-0000-0000-000000000000")["items"] == []


def test_a_conversation_that_a_client_named_itself_is_shown_by_its_name(member_with, tenant):
    author, principal = member_with("my-talk")
    object_by(principal, tenant, conversation_id=Conversation.get().id)
    assert author.listed()["items"][0]["conversation_id"] == "my-talk"


def test_with_a_conversation_go_its_objects(member_with, store, worker, http, tenant):
    author, _ = member_with(KEY)
    kept, gone = author.upload(), author.upload(conversation_id=KEY)
    admin = store("admin")
    answer = http.simulate_delete(f"/api/v1/conversations/{KEY}", headers=admin.headers)
    assert answer.status_code == 204
    assert [item["id"] for item in admin.listed()["items"]] == [kept["id"]]
    eventually(lambda: keys(worker, kept["bucket"]) == [kept["object_key"]], 10)
    assert StorageObject.get_by_id(gone["id"]).status == "deleted"


def test_a_deleted_object_is_gone_at_once_and_its_bytes_soon(store, s3, configure, tenant):
    configure(storage_wait_seconds=0)
    buckets.ensure(tenant.id)
    member, admin = store(), store("admin")
    object_id = member.send()
    member.complete(object_id)
    work("storage.verify")
    assert admin("DELETE", f"/{object_id}").status_code == 204
    for answer in (member.download_url(object_id), member("GET", f"/{object_id}"), member.complete(object_id)):
        assert_envelope(answer, 404, "object_not_found")
    assert admin("DELETE", f"/{object_id}").status_code == 204
    row = StorageObject.get_by_id(object_id)
    assert (row.status, row.blobs_removed_at, keys(s3, row.bucket)) == ("deleted", None, [row.object_key])
    assert work("storage.remove") == 1, "the second deletion has nothing to do"
    assert keys(s3, row.bucket) == [] and StorageObject.get_by_id(object_id).blobs_removed_at
    [event] = AuditEvent.select().where(AuditEvent.action == "object.deleted")
    assert (event.subject, event.details) == (f"object:{object_id}", {"filename": "notes.txt"})


def test_the_list_by_offset_and_by_cursor_has_each_object_once(store, person, tenant):
    author, at = person(), now()
    for _ in range(45):  # all at one moment
        object_by(author, tenant, created_at=at)
    object_by(author, tenant, status="deleted", deleted_at=at)
    member, by_offset, by_cursor = store(), [], []
    offset = 0
    while offset is not None:
        page = member.listed(limit=15, offset=offset)
        by_offset += [item["id"] for item in page["items"]]
        offset = page["next_offset"]
    page = member.listed(limit=15)
    while True:
        by_cursor += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        page = member.listed(limit=15, cursor=page["next_cursor"])
    assert by_offset == by_cursor and len(set(by_offset)) == len(by_offset) == 45
    assert member.listed(offset=10**18)["items"] == []
    assert_envelope(member("GET", params={"cursor": "x"}), 400, "invalid_cursor")
    assert_envelope(member("GET", params={"limit": 101}), 422)


def test_downloads_of_what_is_ready_ask_nobody(store, person, tenant, s3):
    row = object_by(person(), tenant)
    assert store().download_url(row.id).status_code == 200
    assert not Job.select().exists()
