"""Indexing: what becomes of a file, of its run, and of what was written, however it ends."""

import pytest

from models.platform.database import database
from models.runs import progress
from models.runs.run import Run
from models.vector_stores import search
from tests.support.indexing import Shelf, document, work
from workers.gateways.embeddings import embed


@pytest.fixture
def shelf(tenant, s3, provider):
    return Shelf(tenant)


def found(shelf, query, limit=5):
    return search.search(shelf.store, vector=embed([query]).vectors[0], text=query, limit=limit)


def chunks_of(row):
    return database.execute_sql(
        "select position, text, page from vector_chunk where edition_id = (select edition_id from vector_store_file where id = %s)"
        " order by position",
        (row.id,),
    ).fetchall()


def events(row):
    import json

    return [json.loads(entry.data) for entry in progress.read(row.run_id)]


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
