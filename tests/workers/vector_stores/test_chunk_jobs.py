"""The jobs that keep the chunks of our stores quick to search."""

from models.jobs.ledger import Job
from models.platform.database import transaction
from models.vector_stores import indexes
from tests.support.jobs import do
from workers.jobs import CHUNKS_INDEX, enqueue
from workers.vector_stores import chunks


def send():
    with transaction():
        return enqueue(CHUNKS_INDEX)


def test_however_many_stores_have_grown_few_jobs_build_indexes_at_once(clean, monkeypatch):
    # given
    looks = []
    monkeypatch.setattr(indexes, "due", lambda: looks.append(1) or [])
    others = [Job.claim(send().id, "elsewhere", 60) for _ in range(chunks.AT_ONCE)]
    # when
    send()
    do({"chunks.index": chunks.index_chunks})
    # then
    assert looks == []
    # when one of them has ended
    others[0].finish()
    send()
    do({"chunks.index": chunks.index_chunks})
    # then
    assert looks == [1]
