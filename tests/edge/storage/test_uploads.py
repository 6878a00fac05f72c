"""Uploads: from the announcement to an object that can be downloaded, and all that does not get there."""

import re
import threading

import pytest

from models.auth.tenants import Tenant
from models.jobs.ledger import Job
from models.platform.ids import uuid7
from models.storage.objects import StorageObject
from tests.support.crowd import crowd
from tests.support.jobs import working
from tests.support.routes import assert_envelope
from tests.support.standin import eventually
from tests.support.storage import EXE, HTML, PDF, PNG, SVG, fetch, keys, put, work
from workers.gateways import storage

MEGABYTE = 1024 * 1024


def test_from_upload_to_download(store, worker, tenant):
    member = store()
    answer = member.announce(
        PDF, filename="Über uns.pdf", mime_type="application/pdf", metadata={"a": [1]}, agent_key="k"
    )
    upload = answer.json
    assert (answer.status_code, upload["method"], upload["expires_in_seconds"]) == (201, "PUT", 900)
    assert answer.headers["Cache-Control"] == "no-store"
    assert upload["headers"] == {"Content-Type": "application/pdf", "Content-Length": str(len(PDF))}
    assert upload["bucket"] == f"agent-data-{tenant.id.hex}"
    assert upload["object_key"] == f"{tenant.id}/{upload['object_id']}/ber-uns.pdf"
    assert put(upload["upload_url"], PDF, **upload["headers"]) == 200

    done = member.complete(upload["object_id"])
    assert (done.status_code, done.json["status"], done.json["size_bytes"]) == (200, "ready", len(PDF))
    assert (done.json["filename"], done.json["agent_key"], len(done.json["sha256"])) == ("Über uns.pdf", "k", 64)
    assert member("GET", f"/{upload['object_id']}").json == member.complete(upload["object_id"]).json == done.json

    link = member.download_url(upload["object_id"])
    assert (link.status_code, link.json["method"], link.json["headers"]) == (200, "GET", {})
    assert link.headers["Cache-Control"] == "no-store"
    found = fetch(link.json["download_url"])
    assert (found.data, found.headers["Content-Type"]) == (PDF, "application/pdf")
    assert found.headers["Content-Disposition"].startswith("attachment; ")
    assert keys(worker, upload["bucket"]) == [upload["object_key"]], "what was uploaded to was removed"
    assert work("storage.bucket") == 0


def test_what_was_inspected_is_what_is_served(store, worker):
    member = store()
    upload = member.announce(b"hello").json
    assert put(upload["upload_url"], b"hello", **upload["headers"]) == 200
    assert member.complete(upload["object_id"]).status_code == 200
    assert put(upload["upload_url"], b"<html", **upload["headers"]) == 200, "its URL is still good"
    assert fetch(member.download_url(upload["object_id"]).json["download_url"]).data == b"hello"
    assert member.complete(upload["object_id"]).json["status"] == "ready"


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (EXE, "image/png"),
        (HTML, "text/plain"),
        (SVG, "image/png"),
        (SVG, "text/plain"),
        (b"", "image/png"),
        (PNG, "image/jpeg"),
        (HTML, "text/markdown"),
    ],
)
def test_another_type_than_announced_is_rejected(store, worker, data, mime_type):
    member = store()
    object_id = member.send(data, mime_type=mime_type)
    assert_envelope(member.complete(object_id), 422, "type_mismatch")
    assert_envelope(member.complete(object_id), 422, "type_mismatch")
    refused = member.download_url(object_id)
    assert_envelope(refused, 409, "object_not_ready")
    assert refused.json["details"] == {"object_id": object_id, "status": "rejected", "reason": "type_mismatch"}
    [shown] = member.listed()["items"]
    assert (shown["status"], shown["rejection"]) == ("rejected", "type_mismatch")
    assert keys(worker, shown["bucket"]) == []
    assert StorageObject.get().blobs_removed_at


def test_an_empty_text_is_an_object(store, worker):
    member = store()
    shown = member.upload(b"", filename="")
    assert (shown["status"], shown["size_bytes"], shown["object_key"].rpartition("/")[2]) == ("ready", 0, "file")
    assert fetch(member.download_url(shown["id"]).json["download_url"]).data == b""


@pytest.mark.parametrize("data", [b"hell", b"hello!", b"x" * 100_000])
def test_another_size_than_announced_is_rejected(store, worker, tenant, data):
    member = store()
    upload = member.announce(b"hello").json
    assert put(upload["upload_url"], data, **{"Content-Type": "text/plain"}) == 403, "the storage refuses it"
    storage.put(upload["bucket"], f"uploads/{tenant.id}/{upload['object_id']}", data, "x/y")
    assert_envelope(member.complete(upload["object_id"]), 422, "size_mismatch")
    assert keys(worker, upload["bucket"]) == []


def test_what_may_not_be_stored_is_refused_before_anything_is_written(store, s3, configure):
    member = store()
    assert_envelope(member.announce(size_bytes=2**31), 400, "file_too_large")
    assert_envelope(member.announce(size_bytes=10**40), 400, "file_too_large")
    assert_envelope(member.announce(mime_type="image/svg+xml"), 400, "mime_type_not_allowed")
    assert_envelope(member.announce(mime_type="text/plain; charset=utf-8"), 400, "mime_type_not_allowed")
    deep = {"a": {"a": {"a": {"a": {"a": {}}}}}}
    for bad in (
        {"size_bytes": -1},
        {"filename": "x" * 257},
        {"filename": "a\0b"},
        {"metadata": deep},
        {"metadata": {"a": "x" * 17_000}},
        {"metadata": []},
        {"conversation_id": "c1"},
        {"agent_key": "x" * 65},
        {"size_bytes": 0, "parts": True},
    ):
        assert_envelope(member.announce(**bad), 422)
    assert_envelope(member.announce(conversation_id=str(uuid7())), 404, "conversation_not_found")
    assert not StorageObject.select().exists() and not Job.select().exists()


@pytest.mark.parametrize(
    "name", ["../../x", "a\r\nX: y", "\u202egnp.exe", 'quo"te', "\U0001f600" * 256, "", "..", "a/b\\c", "%2e%2e%2f"]
)
def test_hostile_names_are_kept_and_lead_nowhere(store, worker, tenant, name):
    member = store()
    shown = member.upload(filename=name)
    assert shown["filename"] == name
    assert re.fullmatch(f"{tenant.id}/{shown['id']}/[A-Za-z0-9._-]+", shown["object_key"])
    assert shown["object_key"].rpartition("/")[2].strip(".")
    answer = fetch(member.download_url(shown["id"]).json["download_url"])
    assert (answer.status, answer.data, "X" in answer.headers) == (200, b"hello", False)


def test_viewers_upload_and_members_delete_nothing(store, worker):
    viewer, member, admin = store("viewer"), store(), store("admin")
    assert_envelope(viewer.announce(), 403, "insufficient_role")
    shown = member.upload()
    assert_envelope(viewer.complete(shown["id"]), 403, "insufficient_role")
    assert_envelope(member("DELETE", f"/{shown['id']}"), 403, "insufficient_role")
    assert viewer.download_url(shown["id"]).status_code == 200
    assert admin("DELETE", f"/{shown['id']}").status_code == 204


def test_before_the_upload_nothing_is_complete_and_afterwards_it_is(store, worker):
    member = store()
    upload = member.announce().json
    assert_envelope(member.complete(upload["object_id"]), 409, "upload_missing")
    assert_envelope(member.download_url(upload["object_id"]), 409, "object_not_ready")
    assert put(upload["upload_url"], b"hello", **upload["headers"]) == 200
    assert member.download_url(upload["object_id"]).status_code == 200, "verified by the first who needs it"


def test_other_tenants_objects_do_not_exist(store, worker):
    stranger = store("owner", tenant=Tenant.create(slug="other", name="Other"))
    for object_id in (store().upload()["id"], store().announce().json["object_id"], str(uuid7())):
        for answer in (
            stranger.complete(object_id),
            stranger.download_url(object_id),
            stranger("GET", f"/{object_id}"),
            stranger("POST", f"/{object_id}/upload-url"),
        ):
            assert_envelope(answer, 404, "object_not_found")
        assert stranger("DELETE", f"/{object_id}").status_code == 204
    assert stranger.listed() == {"items": [], "next_offset": None, "next_cursor": None}
    assert StorageObject.select().where(StorageObject.deleted_at.is_null()).count() == 2


def test_fifty_at_once_have_it_verified_once(store, worker):
    member = store()
    object_id = member.send()
    answers = crowd(50, lambda _: member.complete(object_id))
    assert {(answer.status_code, answer.json["status"]) for answer in answers} == {(200, "ready")}
    assert Job.select().where(Job.name == "storage.verify").count() == 1


def test_fifty_first_uploads_at_once_share_a_bucket_and_never_overshoot(store, worker, configure):
    configure(storage_max_total_bytes=5 * 7)
    member = store()
    answers = crowd(50, lambda _: member.announce())
    assert sorted(answer.status_code for answer in answers) == [201] * 7 + [403] * 43
    assert_envelope(next(answer for answer in answers if answer.status_code == 403), 403, "storage_full")
    assert StorageObject.select().count() == 7


def test_what_is_deleted_or_rejected_makes_room(store, worker, configure):
    configure(storage_max_total_bytes=5)
    member, admin = store(), store("admin")
    object_id = member.send(b"\0\0\0\0\0")
    assert member.announce().status_code == 403
    member.complete(object_id)
    shown = member.upload()
    assert member.announce().status_code == 403
    admin("DELETE", f"/{shown['id']}")
    assert member.announce().status_code == 201


def test_uploads_are_limited_in_number_too(store, worker, configure):
    configure(storage_uploads_per_minute=1)
    member = store()
    assert member.announce().status_code == 201
    assert_envelope(member.announce(), 429, "rate_limit_exceeded")


def test_a_storage_that_is_away_loses_nothing(store, worker, configure):
    member = store()
    object_id, endpoint = member.send(), storage.client()._base_url.host
    configure(minio_endpoint="127.0.0.1:1")
    storage.forget()
    down = member.complete(object_id)
    assert_envelope(down, 503, "storage_unavailable")
    assert down.headers["Retry-After"]
    other = store("owner", tenant=Tenant.create(slug="other", name="Other"))
    assert_envelope(other.announce(), 503, "storage_unavailable")
    assert StorageObject.select().count() == 1, "nothing half-done"
    configure(minio_endpoint=endpoint)
    storage.forget()
    assert member.complete(object_id).json["status"] == "ready"
    assert other.announce().status_code == 201


def test_no_storage_is_told(store, configure):
    configure(minio_endpoint=None, storage_wait_seconds=5)
    storage.forget()
    with working(work):
        assert_envelope(store().announce(), 503, "storage_unavailable")
    storage.forget()


def test_a_worker_that_is_slow_is_not_waited_for_for_ever(store, s3, configure):
    configure(storage_wait_seconds=0.1)
    member = store()
    assert_envelope(member.announce(), 503, "storage_unavailable")
    work("storage.bucket")
    object_id = member.send()
    pending = member.complete(object_id)
    assert (pending.status_code, pending.json["status"]) == (202, "pending_upload")
    work("storage.verify")
    assert member.complete(object_id).json["status"] == "ready"


def test_a_large_file_comes_in_parts(store, worker):
    member, data = store(), b"0123456789abcdef" * (MEGABYTE + 1)
    answer = member.announce(data, parts=True, filename="large.txt")
    upload = answer.json
    assert answer.status_code == 201, answer.text
    assert [part["size_bytes"] for part in upload["parts"]] == [16 * MEGABYTE, 16]
    assert_envelope(member.complete(upload["object_id"]), 409, "upload_missing")
    fresh = member("POST", f"/{upload['object_id']}/upload-url").json
    for part, start in zip(fresh["parts"], (0, 16 * MEGABYTE), strict=True):
        assert put(part["upload_url"], data[start : start + part["size_bytes"]]) == 200
    assert member.complete(upload["object_id"]).json["size_bytes"] == len(data)
    assert fetch(member.download_url(upload["object_id"]).json["download_url"]).data == data
    assert_envelope(member("POST", f"/{upload['object_id']}/upload-url"), 409, "object_not_pending")


def test_parts_that_are_missing_are_not_made_up_for(store, worker):
    member, data = store(), b"0123456789abcdef" * (MEGABYTE + 1)
    upload = member.announce(data, parts=True).json
    assert put(upload["parts"][1]["upload_url"], data[16 * MEGABYTE :]) == 200
    assert_envelope(member.complete(upload["object_id"]), 409, "upload_missing")
    assert_envelope(store("viewer").download_url(upload["object_id"]), 409, "object_not_ready")
    assert put(upload["parts"][0]["upload_url"], data[: 16 * MEGABYTE]) == 200, "nobody has ended the upload"
    assert member.complete(upload["object_id"]).json["status"] == "ready"


def test_only_who_began_an_upload_gets_fresh_urls_for_it(store, worker):
    member = store()
    object_id = member.announce().json["object_id"]
    assert_envelope(store()("POST", f"/{object_id}/upload-url"), 404, "object_not_found")
    for caller in (member, store("admin")):
        fresh = caller("POST", f"/{object_id}/upload-url")
        assert fresh.status_code == 200 and fresh.json["object_id"] == object_id
    assert put(fresh.json["upload_url"], b"hello", **fresh.json["headers"]) == 200
    assert member.complete(object_id).status_code == 200


def test_deleted_while_it_is_verified_it_stays_deleted(store, worker, monkeypatch):
    member, admin = store(), store("admin")
    object_id, copied, go_on = member.send(), threading.Event(), threading.Event()
    copy = storage.copy

    def slow(*args, **options):
        copy(*args, **options)
        copied.set()
        assert go_on.wait(20)

    monkeypatch.setattr(storage, "copy", slow)
    found = []
    completing = threading.Thread(target=lambda: found.append(member.complete(object_id)))
    completing.start()
    assert copied.wait(20)
    assert admin("DELETE", f"/{object_id}").status_code == 204
    go_on.set()
    completing.join()
    assert_envelope(found[0], 404, "object_not_found")
    row = StorageObject.get_by_id(object_id)
    eventually(lambda: keys(worker, row.bucket) == [], 10)
    assert row.status == "deleted"
