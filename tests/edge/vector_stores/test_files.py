"""Files of stores over HTTP: attached, listed, read, detached, indexed again."""

import time

import pytest

from models.jobs.ledger import Job
from models.platform.database import transaction
from models.runs.run import Run
from models.vector_stores.files import ProviderFile, VectorStoreFile
from models.vector_stores.stores import VectorStore
from tests.support.routes import assert_envelope
from tests.support.vector_stores import make_object, make_store

STATIC = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 100}}


@pytest.fixture
def store(tenant):
    return make_store(tenant)


@pytest.fixture
def attach(admin, store):
    return lambda file_id, poll=False, **more: admin(
        "POST", f"/{store.id}/files", file_id=str(file_id), poll=poll, **more
    )


def finish(row_id, **columns):
    VectorStoreFile.update(**{"status": "completed", "usage_bytes": 70, **columns}).where(
        VectorStoreFile.id == row_id
    ).execute()


def test_a_file_is_attached_with_a_run_and_its_job(attach, tenant, store, jobs_named):
    stored = make_object(tenant)
    answer = attach(stored.id, attributes={"year": 2024, "public": True}, chunking_strategy=STATIC)
    assert answer.status_code == 201, answer.text
    shown = answer.json
    assert (shown["openai_file_id"], shown["object_id"]) == (f"file-{stored.id.hex}", str(stored.id))
    assert (shown["status"], shown["size_bytes"], shown["mime_type"]) == ("in_progress", 1000, "text/markdown")
    assert shown["attributes"] == {"year": 2024, "public": True} and shown["chunking_strategy"] == STATIC
    assert answer.headers["X-Run-Id"] == shown["run_id"]
    (job,) = jobs_named("file.index")
    assert (str(job.run_id), job.args, job.tenant_id) == (shown["run_id"], {"file_row_id": shown["id"]}, tenant.id)


def test_the_run_can_be_read_and_followed_by_who_attached_it(http, signed, tenant, store):
    headers = signed("admin")[0]
    path = f"/api/v1/vector-stores/{store.id}/files"
    body = {"file_id": str(make_object(tenant).id), "poll": False}
    run_id = http.simulate_post(path, json=body, headers=headers).headers["X-Run-Id"]
    shown = http.simulate_get(f"/api/v1/runs/{run_id}", headers=headers)
    assert (shown.json["kind"], shown.json["state"]) == ("indexing", "queued")


def test_poll_waits_and_answers_in_time_with_what_there_is(attach, tenant, configure):
    configure(vector_poll_seconds=0.2)
    began = time.monotonic()
    answer = attach(make_object(tenant).id, poll=True)
    assert (answer.status_code, answer.json["status"]) == (201, "in_progress") and time.monotonic() - began >= 0.2


def test_poll_answers_as_soon_as_it_is_done(attach, tenant, configure, monkeypatch):
    import edge.resources.vector_stores as resource

    configure(vector_poll_seconds=30)
    look = resource.wait_until

    def after_its_end(first, *more):
        finish(first().id)
        return look(first, *more)

    monkeypatch.setattr(resource, "wait_until", after_its_end)
    assert attach(make_object(tenant).id, poll=True).json["status"] == "completed"


def test_a_file_has_several_names(admin, attach, tenant, store):
    stored = make_object(tenant)
    shown = attach(stored.id).json
    ProviderFile.create(tenant_id=tenant.id, provider_file_id="file-copy", object_id=stored.id, filename="x")
    for name in (shown["id"], str(stored.id), f"file-{stored.id.hex}", "file-copy"):
        assert admin("GET", f"/{store.id}/files/{name}").json == shown, name
    assert_envelope(admin("GET", f"/{store.id}/files/file-nope"), 404, "file_not_found")
    assert_envelope(admin("GET", f"/{make_store(tenant, 'other').id}/files/{shown['id']}"), 404, "file_not_found")


def test_a_detached_file_is_gone_counts_no_more_and_can_be_attached_again(admin, attach, tenant, store, jobs_named):
    stored = make_object(tenant)
    first = attach(stored.id).json
    finish(first["id"])
    VectorStore.update(usage_bytes=70).execute()
    path = f"/{store.id}/files/{first['openai_file_id']}"
    assert admin("DELETE", path).status_code == 204
    assert VectorStore.get().usage_bytes == 0
    assert admin("DELETE", path).status_code == 204, "a second time changes nothing"
    assert VectorStore.get().usage_bytes == 0 and len(jobs_named("file.detach")) == 1
    assert_envelope(admin("GET", path), 404, "file_not_found")
    again = attach(stored.id)
    assert again.status_code == 201 and again.json["id"] != first["id"]
    assert admin("GET", f"/{store.id}/files").json["total"] == 1


def test_detaching_stops_the_run_that_indexes_it(admin, attach, tenant, store):
    shown = attach(make_object(tenant).id).json
    admin("DELETE", f"/{store.id}/files/{shown['id']}")
    assert Run.get_by_id(shown["run_id"]).state == "cancelled"
    assert Job.get(Job.name == "file.index").state == "cancelled"


def test_files_are_listed_by_state_and_in_pages(admin, attach, tenant, store):
    ids = [attach(make_object(tenant).id).json["id"] for _ in range(5)]
    finish(ids[0])
    finish(ids[1], status="failed", last_error="It is empty.", error_code="no_text")
    path = f"/{store.id}/files"
    assert [item["id"] for item in admin("GET", path).json["items"]] == ids[::-1]
    failed = admin("GET", f"{path}?status=failed").json
    assert failed["total"] == 1 and failed["items"][0]["last_error"] == "It is empty."
    assert admin("GET", f"{path}?status=whatever").json == {"items": [], "total": 0, "next_cursor": None}
    page = admin("GET", f"{path}?limit=2").json
    rest = admin("GET", f"{path}?limit=3&cursor={page['next_cursor']}").json
    assert [item["id"] for item in page["items"] + rest["items"]] == ids[::-1] and rest["next_cursor"] is None


def test_a_file_is_indexed_again(admin, attach, tenant, store, jobs_named):
    shown = attach(make_object(tenant).id).json
    path = f"/{store.id}/files/{shown['id']}/index"
    assert_envelope(admin("POST", path), 409, "file_in_progress")
    with transaction():
        Run.stop(Run.get_by_id(shown["run_id"]).id)
    finish(shown["id"], status="failed", last_error="Away.", error_code="embeddings_unavailable")
    again = admin("POST", path)
    assert again.status_code == 202 and again.headers["X-Run-Id"] != shown["run_id"]
    assert (again.json["status"], again.json["last_error"], again.json["error_code"]) == ("in_progress", None, None)
    assert len(jobs_named("file.index")) == 2
    assert_envelope(admin("POST", f"/{store.id}/files/file-nope/index"), 404, "file_not_found")


def test_a_file_that_can_be_found_stays_so_while_it_is_indexed_again(admin, attach, tenant, store):
    shown = attach(make_object(tenant).id).json
    with transaction():
        Run.stop(Run.get_by_id(shown["run_id"]).id)
    finish(shown["id"])
    assert admin("POST", f"/{store.id}/files/{shown['id']}/index").json["status"] == "completed"


@pytest.mark.parametrize(
    "body",
    [
        {"file_id": ""},
        {"file_id": "x" * 256},
        {"attributes": {"x": None}},
        {"attributes": {"x": [1]}},
        {"attributes": {str(number): 1 for number in range(17)}},
        {"attributes": {"x": "x" * 513}},
        {"attributes": {"": 1}},
        {"chunking_strategy": {}},
        {"chunking_strategy": {"type": "static"}},
        {"chunking_strategy": {"type": "auto", "static": STATIC["static"]}},
        {"chunking_strategy": {"type": "static", "static": {"max_chunk_size_tokens": 99, "chunk_overlap_tokens": 0}}},
        {"chunking_strategy": {"type": "static", "static": {"max_chunk_size_tokens": 4097, "chunk_overlap_tokens": 0}}},
        {
            "chunking_strategy": {
                "type": "static",
                "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 101},
            }
        },
    ],
)
def test_a_bad_wish_is_told_what_is_wrong(admin, store, body):
    answer = admin("POST", f"/{store.id}/files", **{"file_id": "file-x", "poll": False, **body})
    assert_envelope(answer, 422, "validation_error")
    assert answer.json["details"][0]["loc"][:2] == ["body", next(iter(body))]


def test_what_cannot_be_attached(attach, tenant, store, configure):
    configure(storage_wait_seconds=0)
    assert_envelope(attach("file-nope"), 404, "file_not_found")
    assert_envelope(attach(make_object(tenant, mime_type="image/png").id), 400, "mime_type_not_allowed")
    assert_envelope(attach(make_object(tenant, status="pending_upload").id), 409, "object_not_ready")
    stored = make_object(tenant)
    attach(stored.id)
    assert_envelope(attach(stored.id), 409, "file_already_attached")
    assert Run.select().count() == 1, "nothing is left of what was refused"
