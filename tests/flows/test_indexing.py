"""From an upload to a search, through real processes; and with workers that are killed in between."""

import contextlib
import os
import random
import signal
import time

import httpx
import pytest

from tests.flows.conftest import eventually
from tests.support import documents
from tests.support.indexing_texts import prose
from workers.vector_stores.indexing import BATCH_CHUNKS

KILLS = 3
STORES = "/api/v1/vector-stores"
SMALL = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}}


@pytest.fixture
def library(live):
    """A client of an admin, with a store that is gone after the test."""
    created = live.http.post(STORES, json={"name": f"flow-{random.getrandbits(32):x}"})
    assert created.status_code == 201, created.text
    store = created.json()["id"]
    yield store
    live.http.delete(f"{STORES}/{store}")


def upload(live, data, name, mime_type):
    ask = {"filename": name, "mime_type": mime_type, "size_bytes": len(data)}
    signed = live.http.post("/api/v1/storage/objects/upload-url", json=ask).json()
    assert httpx.put(signed["upload_url"], content=data, headers=signed["headers"]).status_code == 200
    done = live.http.post(f"/api/v1/storage/objects/{signed['object_id']}/complete")
    assert done.status_code < 300, done.text
    return signed["object_id"]


def attach(live, store, object_id, **more):
    answer = live.http.post(f"{STORES}/{store}/files", json={"file_id": object_id, "poll": False, **more})
    assert answer.status_code == 201, answer.text
    return answer.headers["X-Run-Id"], answer.json()


def search(live, store, query):
    answer = live.http.post(f"{STORES}/{store}/search", json={"query": query})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["data"]


def book(pages):
    texts = [f"Chapter {number}. {prose(number, 300)}" for number in range(pages)]
    texts[pages // 2] = "The password of the lighthouse is written in the log of the keeper. " + texts[pages // 2]
    return documents.pdf(texts)


def test_a_document_of_300_pages_is_found_within_a_minute_of_its_upload(live, library):
    # given
    data, started = book(300), time.monotonic()
    # when
    run_id, _ = attach(live, library, upload(live, data, "book.pdf", "application/pdf"))
    with live.resume(run_id) as stream:
        told = [event for _, event in stream]
    hits = search(live, library, "Who writes down the password of the lighthouse?")
    # then
    assert time.monotonic() - started < 60
    assert any("lighthouse" in hit["content"][0]["text"] for hit in hits)
    assert told[-1]["is_terminal"] and told[-1]["payload"]["pages"] == 300
    assert any(event["event"] == "progress" for event in told)


def kill(live, run_id, kills):
    """Kill the run's worker at any moment after it has written more."""
    seen = staged(live, run_id)
    while staged(live, run_id) <= seen and live.run(run_id)["state"] in ("queued", "running"):
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.2))
    if pid := live.owner_of(run_id):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        kills.append(pid)
        live.sql(
            "update job set lease_until = now() - interval '1 second' where run_id = %s and state = 'running'", run_id
        )
    eventually(live.revive, 10) if pid else None


def staged(live, run_id):
    [[number]] = live.sql(
        "select coalesce(sum(chunks), 0) from vector_edition join vector_store_file f on f.id = file_row_id where run_id = %s",
        run_id,
    )
    return number


def chunks(live, file_row_id):
    return live.sql(
        "select position, text from vector_chunk join vector_store_file f using (edition_id) where f.id = %s order by 1",
        file_row_id,
    )


def test_a_worker_that_is_killed_again_and_again_doubles_no_chunk(live, library):
    # given
    data = book(80)
    object_id = upload(live, data, "book.pdf", "application/pdf")
    before, kills = live.provider()["embedded"], []
    # when
    run_id, row = attach(live, library, object_id, chunking_strategy=SMALL)
    for _ in range(KILLS):
        kill(live, run_id, kills)
    eventually(lambda: live.run(run_id)["state"] == "succeeded", 120)
    # then
    killed = chunks(live, row["id"])
    embedded = live.provider()["embedded"] - before
    assert [position for position, _ in killed] == list(range(len(killed)))
    assert len(killed) <= embedded <= len(killed) + len(kills) * BATCH_CHUNKS
    entries = live.sql("select count(*), sum(quantity) from usage_entry where source = %s", f"run:{run_id}")
    assert entries == [(1, live.run(run_id)["usage"]["embedding_tokens"])]
    # when nobody is killed
    live.http.delete(f"{STORES}/{library}/files/{row['openai_file_id']}")
    run_id, row = attach(live, library, object_id, chunking_strategy=SMALL)
    eventually(lambda: live.run(run_id)["state"] == "succeeded", 120)
    # then
    assert [text for _, text in chunks(live, row["id"])] == [text for _, text in killed], "exactly the right ones"


def test_many_files_at_once_share_the_workers(live, library):
    # given
    object_ids = [upload(live, prose(number, 300).encode(), f"{number}.txt", "text/plain") for number in range(12)]
    # when
    runs = [attach(live, library, object_id)[0] for object_id in object_ids]
    # then
    eventually(lambda: {live.run(run_id)["state"] for run_id in runs} == {"succeeded"}, 120)
    listed = live.http.get(f"{STORES}/{library}/files", params={"limit": 100, "status": "completed"}).json()
    assert listed["total"] == 12
