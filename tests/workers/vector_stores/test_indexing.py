"""Indexing: what becomes of a file, of its run, and of what was written, however it ends."""

import io
import json
import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest

from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import database, release, transaction
from models.runs import progress
from models.runs.run import Run
from models.storage.objects import StorageObject
from models.vector_stores import keeping, search
from models.vector_stores.editions import Edition
from models.vector_stores.files import VectorStoreFile
from models.vector_stores.stores import VectorStore
from tests.support import documents
from tests.support.indexing import Shelf, fresh, job_of, work
from tests.support.indexing_texts import document
from tests.support.jobs import do
from tests.support.vector_stores import principal_of
from workers.gateways import embeddings
from workers.jobs import FILE_INDEX, VECTOR_STORE_REMOVE, enqueue
from workers.lease import Cancelled, Shutdown
from workers.vector_stores import indexing, stores, watching
from workers.vector_stores.extraction.failures import MESSAGES

REAL = embeddings.embed


@pytest.fixture
def shelf(tenant, s3, provider):
    return Shelf(tenant)


def found(shelf, query, limit=5):
    return search.search(shelf.store, vector=REAL([query]).vectors[0], text=query, limit=limit)


def chunks_of(row):
    return database.execute_sql(
        "select position, text, page from vector_chunk where edition_id = (select edition_id from vector_store_file where id = %s)"
        " order by position",
        (row.id,),
    ).fetchall()


def events(row):
    return [json.loads(entry.data) for entry in progress.read(row.run_id)]


def editions():
    return Edition.select().count()


def counted(row):
    """The tokens that the run was charged."""
    query = "select coalesce(sum(quantity), 0) from usage_entry where source = %s and feature = 'embedding_tokens'"
    return database.execute_sql(query, (f"run:{row.run_id}",)).fetchone()[0]


def test_a_file_can_be_found_after_its_job(shelf):
    # given
    row = shelf.add(document(20) + "\n\nThe password of the lighthouse is written in the log of the keeper.")
    # when
    row = work(row)
    # then
    assert (row.status, row.last_error, row.error_code) == ("completed", None, None)
    run = Run.get_by_id(row.run_id)
    assert run.state == "succeeded" and run.usage["embedding_tokens"] > 1000
    assert [position for position, _, _ in chunks_of(row)] == list(range(row.chunk_count))
    assert "lighthouse" in found(shelf, "Where does the keeper write the lighthouse password?")[0].text
    told = events(row)
    assert told[-1]["is_terminal"] and told[-1]["payload"]["chunks"] == row.chunk_count
    assert told[0]["event"] == "progress"


def test_hostile_content_fails_the_file_and_its_run_with_the_same_code(shelf):
    for data, kind, code in (
        (documents.pdf(["secret"], encrypt=True), "application/pdf", "encrypted"),
        (b" \n", "text/plain", "no_text"),
    ):
        row = work(shelf.add(data, "evil.pdf", kind))
        run = Run.get_by_id(row.run_id)
        assert (row.status, row.error_code, run.state, run.error_code) == ("failed", code, "failed", code)
        assert row.last_error == run.error_message == MESSAGES[code]
        assert events(row)[-1]["payload"] == {"error": MESSAGES[code], "code": code}
        assert job_of(row).state == "dead"
    assert editions() == 0


def test_a_stored_object_that_is_gone_or_damaged_fails_the_file(shelf, s3):
    # given
    gone, damaged, deleted = (shelf.put(document(1, seed)) for seed in range(3))
    rows = [shelf.attach(stored) for stored in (gone, damaged, deleted)]
    s3.remove_object(gone.bucket, gone.object_key)
    s3.put_object(damaged.bucket, damaged.object_key, io.BytesIO(b"other"), 5)
    StorageObject.update(deleted_at=now()).where(StorageObject.id == deleted.id).execute()
    # then
    assert [work(row).error_code for row in rows] == ["object_gone", "object_damaged", "object_gone"]


class Embedder:
    """In the place of the gateway's call: counts, and fails as told; otherwise the real one."""

    def __init__(self, monkeypatch):
        self.texts, self.wishes, self.before = [], [], lambda: None
        self.real = embeddings.embed
        monkeypatch.setattr(embeddings, "embed", self)

    def __call__(self, texts, **options):
        self.before()
        wish = self.wishes.pop(0) if self.wishes else None
        if isinstance(wish, BaseException):
            raise wish
        self.texts += texts
        return self.real(texts, **options)


@pytest.fixture
def embedder(monkeypatch):
    monkeypatch.setattr(indexing, "BATCH_CHUNKS", 4)
    return Embedder(monkeypatch)


def limited(seconds):
    error = embeddings.EmbeddingsLimited()
    error.retry_after = seconds
    return error


@pytest.mark.parametrize(
    "error",
    [embeddings.EmbeddingsFailed(), embeddings.EmbeddingsLate(), embeddings.EmbeddingsInvalid(), limited(30)],
    ids=lambda error: error.code,
)
def test_a_server_that_fails_in_the_middle_is_tried_later_from_the_same_batch(shelf, embedder, error):
    # given
    row = shelf.add(document(10))
    embedder.wishes = [None, None, error]
    # when
    row = work(row)
    # then
    job = job_of(row)
    assert (row.status, job.state, job.failures) == ("in_progress", "queued", 1)
    assert job.due_at > now() + timedelta(seconds=25 if error.retry_after else 0.5)
    assert found(shelf, "harbour") == [], "nothing is seen of a half"
    # when
    row = work(row)
    # then
    assert row.status == "completed" and len(embedder.texts) == row.chunk_count == len(set(embedder.texts)) > 8
    assert [text for _, text, _ in chunks_of(row)] == embedder.texts
    assert Run.get_by_id(row.run_id).usage["embedding_tokens"] == counted(row)


@pytest.mark.parametrize(
    "error", [embeddings.EmbeddingsRefused(), embeddings.EmbeddingsMismatch()], ids=lambda e: e.code
)
def test_a_server_that_refuses_fails_the_file_at_once_and_the_file_can_be_indexed_again(shelf, embedder, error):
    # given
    row = shelf.add(document(10))
    embedder.wishes = [None, error]
    # when
    row = work(row)
    # then
    assert (row.status, row.error_code, row.last_error) == ("failed", error.code, error.message)
    assert editions() == 0 and counted(row) > 0, "what was embedded is paid for"
    # when
    row = work(shelf.again(row))
    # then
    assert (row.status, row.error_code, row.last_error) == ("completed", None, None)


def test_a_server_that_stays_away_fails_the_file_after_the_last_attempt(shelf, embedder):
    row = shelf.add(document(1))
    embedder.wishes = [embeddings.EmbeddingsFailed() for _ in range(FILE_INDEX.retries + 1)]
    for _ in range(FILE_INDEX.retries):
        assert work(row).status == "in_progress"
    assert (work(row).error_code, Run.get_by_id(row.run_id).state) == ("embeddings_unavailable", "failed")


def test_vectors_of_another_length_than_the_store_has_are_refused(shelf, configure):
    work(shelf.add(document(1)))
    configure(embedding_dimensions=128)
    shelf.store = VectorStore.get_by_id(shelf.store.id)
    row = work(shelf.add(document(2, 2)))
    assert (row.status, row.error_code) == ("completed", None), "the store's own length is asked for"


def test_a_job_that_ends_in_the_middle_goes_on_with_the_next_batch(shelf, embedder):
    # given
    row = shelf.add(document(10))
    embedder.wishes = [None, None, Shutdown()]
    work(row)
    assert job_of(row).state == "queued" and job_of(row).failures == 0
    # when
    row = work(row)
    # then
    assert row.status == "completed" and len(embedder.texts) == row.chunk_count == len(set(embedder.texts))


def test_a_cancel_in_the_middle_leaves_nothing(shelf, embedder):
    # given
    row = shelf.add(document(10))
    embedder.wishes = [None, None, Cancelled()]
    # when
    row = work(row)
    # then
    assert (row.status, Run.get_by_id(row.run_id).state, editions()) == ("cancelled", "cancelled", 0)
    assert events(row)[-1]["event"] == "cancelled"


def test_the_cancel_of_a_queued_run_cancels_the_file_too(shelf):
    row = shelf.add(document(1))
    Run.cancel(principal_of(shelf.tenant, "owner"), row.run_id)
    assert fresh(row).status == "cancelled"
    work(row)
    assert fresh(row).status == "cancelled" and editions() == 0


@pytest.mark.parametrize("what", ["file", "store"])
def test_a_file_or_store_that_is_deleted_meanwhile_ends_the_run(shelf, embedder, what):
    # given
    row, calls = shelf.add(document(10)), []

    def delete():
        calls.append(1)
        if len(calls) == 3:
            model, key = (VectorStoreFile, row.id) if what == "file" else (VectorStore, shelf.store.id)
            model.update(deleted_at=now()).where(model.id == key).execute()

    embedder.before = delete
    # when
    work(row)
    # then
    run = Run.get_by_id(row.run_id)
    assert (run.state, run.error_code, job_of(row).state, editions()) == ("cancelled", "file_gone", "succeeded", 0)
    assert counted(row) > 0


def test_equal_content_is_embedded_once(shelf, embedder):
    # given
    first = work(shelf.add(document(10)))
    number = len(embedder.texts)
    # when
    second = work(shelf.add(document(10), "copy.txt"))
    # then
    assert second.status == "completed" and len(embedder.texts) == number
    assert [text for _, text, _ in chunks_of(second)] == [text for _, text, _ in chunks_of(first)]
    assert counted(second) == 0
    # when it is cut in another way, it is another content
    static = {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 0}
    third = work(shelf.add(document(10), "third.txt", chunking_strategy={"type": "static", "static": static}))
    # then
    assert third.chunk_count > first.chunk_count / 2 and len(embedder.texts) > number


def test_equal_content_is_embedded_once_also_when_two_jobs_run_at_once(shelf, embedder):
    # given
    first, second = shelf.add(document(10)), shelf.add(document(10), "copy.txt")
    seen = []

    def other():
        if not seen:
            seen.append(True)
            thread = threading.Thread(target=lambda: (work(second), release()))
            thread.start()
            thread.join()
            seen.append((fresh(second).status, job_of(second).state, job_of(second).failures))

    embedder.before = other
    # when
    first = work(first)
    second = work(second)
    # then
    assert seen[1] == ("in_progress", "queued", 0), "the second waits, and that is no failure"
    assert (first.status, second.status) == ("completed", "completed")
    assert len(embedder.texts) == first.chunk_count == second.chunk_count


def test_equal_content_of_a_file_that_fails_is_taken_over(shelf, embedder):
    first, second = shelf.add(document(5)), shelf.add(document(5), "copy.txt")
    embedder.wishes = [embeddings.EmbeddingsRefused()]
    assert [work(first).status, work(second).status] == ["failed", "completed"]


def test_reindexing_swaps_at_once_and_searches_find_the_old_until_then(shelf, embedder):
    # given
    row = work(shelf.add(document(10)))
    old, seen = row.edition_id, []
    embedder.before = lambda: seen.append((fresh(row).status, len(chunks_of(row))))
    # when
    row = work(shelf.again(row))
    # then
    assert len(seen) > 1 and set(seen) == {("completed", row.chunk_count)}, "never empty, never both"
    assert row.edition_id != old and editions() == 1, "the old chunks are removed"
    # when the next one fails
    embedder.before = lambda: None
    embedder.wishes = [None, embeddings.EmbeddingsRefused()]
    row = work(shelf.again(row))
    # then
    assert (row.status, row.error_code) == ("completed", "embeddings_refused"), "it can be searched as before"
    assert len(chunks_of(row)) == row.chunk_count and editions() == 1


def test_progress_is_told_with_pages_chunks_and_speed(shelf, monkeypatch):
    monkeypatch.setattr(watching, "PAUSE", 0)
    row = work(shelf.add(documents.pdf([document(1, page) for page in range(40)]), "a.pdf", "application/pdf"))
    *told, last = [event["payload"] for event in events(row)]
    assert told[0]["pages"] == 40 and told[-1]["page"] > 30
    assert [one["chunks"] for one in told] == sorted(one["chunks"] for one in told)
    assert told[-1]["text_bytes_per_second"] > 0
    assert (last["chunks"], last["pages"], last["type"]) == (row.chunk_count, 40, "pdf")
    assert last["embedding_tokens"] == counted(row) and last["file_id"] == row.file_id


def test_files_that_wait_do_not_exceed_the_limit_of_tokens_together(shelf, embedder, limited):
    # given files that were attached before any of them was read
    limited("embedding_tokens", hard=50)
    first, second, third = [shelf.add(document(5) + name, name) for name in ("a.txt", "b.txt", "c.txt")]
    # when
    assert work(first).status == "completed"
    number = len(embedder.texts)
    rows = [work(second), work(third)]
    # then
    assert [(row.status, row.error_code) for row in rows] == [("failed", "usage_limit_exceeded")] * 2
    assert len(embedder.texts) == number and counted(first) > 50 and counted(second) == 0
    # when the limit is raised, it can be indexed again
    limited("embedding_tokens", hard=1_000_000)
    assert work(shelf.again(second)).status == "completed"


def test_who_has_waited_long_for_equal_content_looks_seldom(shelf, embedder):
    # given
    first, second = shelf.add(document(5)), shelf.add(document(5), "copy.txt")
    Job.update(created_at=now() - timedelta(minutes=1)).where(Job.id == job_of(second).id).execute()
    pauses = []

    def other():
        thread = threading.Thread(target=lambda: (work(second), release()))
        thread.start()
        thread.join()
        pauses.append((job_of(second).due_at - now()).total_seconds())

    embedder.before = other
    # when
    work(first)
    # then
    assert 10 < pauses[0] <= 30


def test_the_end_of_a_store_waits_for_the_workers_of_its_files_without_haste(shelf, monkeypatch):
    # given
    row = shelf.add(document(1))
    Job.claim(job_of(row).id, "elsewhere", 30)
    principal, pauses = principal_of(shelf.tenant), []
    with transaction():
        keeping.delete(principal, shelf.store.id)
        enqueue(VECTOR_STORE_REMOVE, tenant_id=shelf.tenant.id, store_id=str(shelf.store.id))

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:  # that worker sees it
            Job.update(state="cancelled").where(Job.id == job_of(row).id).execute()

    monkeypatch.setattr(stores, "time", SimpleNamespace(sleep=pause))
    # when
    do({"vector_store.remove": stores.remove_store})
    # then
    assert len(pauses) == 3 and all(seconds >= 0.5 for seconds in pauses)
    assert Run.get_by_id(row.run_id).state == "cancelled"
