"""A store that grows into a table and an index of its own, while others write, search and delete."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.platform.clock import now
from models.platform.database import database, release, transaction
from models.vector_stores import chunks, editions, indexes, removal, tables
from models.vector_stores.search import search
from models.vector_stores.stores import VectorStore
from tests.support.chunks import add_file, make_chunks, make_file, make_store, vector, write

TEXTS = [f"Part {number}" for number in range(30)]


def threads(*functions):
    """Run all at once; the first error is raised."""

    def one(function):
        try:
            return function()
        finally:
            release()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(one, function) for function in functions]]


def found(store, limit=50, **options):
    return sorted(hit.text for hit in search(store, vector=vector("x"), text="part", limit=limit, **options))


def hnsw_indexes(store):
    return [row[0] for row in database.execute_sql(indexes.INDEXES, (tables.own_table(store.id),)).fetchall()]


@pytest.fixture(autouse=True)
def indexed(monkeypatch):
    monkeypatch.setattr("models.vector_stores.search.FEW", 0)


def test_searches_see_the_same_chunks_while_the_store_is_moved_and_indexed(tenant):
    store = make_store(tenant)
    add_file(store, TEXTS)
    done, wrong = threading.Event(), []

    def reader():
        count = 0
        while not done.is_set() or count < 3:
            if (seen := found(store)) != sorted(TEXTS):
                wrong.append(seen)
            count += 1

    def tender():
        try:
            return indexes.tend(store.id)
        finally:
            done.set()

    *_, tended = threads(reader, reader, reader, tender)
    assert (tended, wrong) == (True, [])
    assert VectorStore.get_by_id(store.id).has_own_table


def test_writers_lose_no_chunk_while_the_store_is_moved_and_indexed(tenant):
    store = make_store(tenant)
    add_file(store, ["Part of another"])
    files = [make_file(store) for _ in range(3)]

    def writer(file):
        def run():
            for first in range(0, len(TEXTS), 3):
                chunks.stage(file, 1, first, make_chunks(TEXTS[first : first + 3]))
            with transaction():
                return editions.publish(file, 1)

        return run

    counts = threads(*map(writer, files), lambda: indexes.tend(store.id))
    assert counts == [30, 30, 30, True]
    assert found(store, limit=100) == sorted([*TEXTS * 3, "Part of another"])
    indexes.tend(store.id)  # of what came after its index, if anything did
    assert found(store, limit=100) == sorted([*TEXTS * 3, "Part of another"])
    shared = database.execute_sql("select count(*) from vector_chunk where vector_store_id = %s", (store.id,))
    assert shared.fetchone()[0] == 0


def test_a_search_that_has_begun_ends_with_what_it_saw_at_first(tenant):
    store = make_store(tenant)
    add_file(store, TEXTS)
    with database.atomic("REPEATABLE READ"):
        database.execute_sql("select has_own_table from vector_store")
        threads(lambda: tables.promote(store.id))
        statement = "select count(*) from vector_chunk where vector_store_id = %s"
        assert database.execute_sql(statement, (store.id,)).fetchone()[0] == 30


def test_only_one_process_is_at_a_store(tenant):
    store = make_store(tenant)
    add_file(store, TEXTS)
    assert sorted(threads(*[lambda: indexes.tend(store.id)] * 4)).count(True) >= 1
    [name] = hnsw_indexes(store)
    definition = database.execute_sql("select pg_get_indexdef(%s::regclass)", (f"vector_chunks.{name}",)).fetchone()[0]
    assert "m='24', ef_construction='100'" in definition
    assert found(store) == sorted(TEXTS)


def test_a_store_is_indexed_when_it_has_grown_enough(tenant, monkeypatch):
    monkeypatch.setattr(indexes, "LARGE", 30)
    store, small = make_store(tenant), make_store(tenant)
    add_file(small, TEXTS[:29])
    add_file(store, TEXTS)  # which indexes it
    names = hnsw_indexes(store)
    assert (len(names), indexes.due()) == (1, [])
    write(make_file(store), TEXTS[:29])
    assert indexes.due() == []
    write(make_file(store), TEXTS[:1])
    assert indexes.due() == [store.id]
    assert indexes.tend(store.id)
    assert (len(hnsw_indexes(store)), hnsw_indexes(store) != names, indexes.due()) == (1, True, [])
    assert not VectorStore.get_by_id(small.id).has_own_table


def test_the_index_of_a_huge_store_takes_every_new_chunk(tenant, monkeypatch):
    monkeypatch.setattr(indexes, "LARGE", 10)
    monkeypatch.setattr(indexes, "HUGE", 10)
    store = make_store(tenant)
    add_file(store, TEXTS)
    assert VectorStore.get_by_id(store.id).indexed_edition == indexes.EVERYTHING
    add_file(store, ["New part"])
    assert (indexes.due(), found(store)) == ([], sorted([*TEXTS, "New part"]))
    assert not indexes.tend(store.id)


def test_what_a_killed_process_has_left_is_cleared(tenant):
    store = make_store(tenant)
    add_file(store, TEXTS)
    tables.promote(store.id)  # and no more
    assert found(store) == sorted(TEXTS)
    table = tables.own_table(store.id)
    database.execute_sql(f"create index store_{store.id.hex}_7 on {table} using hnsw (embedding halfvec_cosine_ops)")
    database.execute_sql(
        "update pg_index set indisvalid = false where indexrelid = %s::regclass",
        (f"vector_chunks.store_{store.id.hex}_7",),
    )
    assert indexes.tend(store.id)
    assert hnsw_indexes(store) == [f"store_{store.id.hex}_{VectorStore.get_by_id(store.id).indexed_edition}"]


def test_a_store_that_is_deleted_meanwhile_leaves_nothing(tenant):
    store = make_store(tenant)
    add_file(store, TEXTS)

    def delete():
        VectorStore.update(deleted_at=now()).where(VectorStore.id == store.id).execute()
        removal.remove_store(store.id)
        return []

    _, _, *seen = threads(delete, lambda: indexes.tend(store.id), lambda: found(store), lambda: found(store))
    assert all(texts in ([], sorted(TEXTS)) for texts in seen)
    removal.sweep()
    assert (found(store), indexes.due(), indexes.tend(store.id)) == ([], [], False)
    left = database.execute_sql("select to_regclass(%s)", (tables.own_table(store.id),)).fetchone()[0]
    assert (left, editions.stored(store.id)) == (None, 0)


def test_an_index_finds_what_comparing_all_finds(tenant, monkeypatch):
    store = make_store(tenant)
    texts = [f"Entry {number}" for number in range(400)]
    for at in range(0, 400, 40):
        add_file(store, texts[at : at + 40], attributes={"tenth": at // 40})
    one = {"type": "eq", "key": "tenth", "value": 3}
    exact = {
        number: [found_one.text for found_one in search(store, vector=vector(number), text="")] for number in range(20)
    }
    indexes.tend(store.id)
    for number, expected in exact.items():
        hits = [hit.text for hit in search(store, vector=vector(number), text="")]
        assert len(set(hits) & set(expected)) >= 9
        filtered = search(store, vector=vector(number), text="", filters=one, limit=40)
        assert sorted(hit.text for hit in filtered) == sorted(texts[120:160])


def test_common_words_are_ranked_among_the_nearest(tenant, monkeypatch):
    monkeypatch.setattr("models.vector_stores.words.RANKED", 5)
    store = make_store(tenant)
    add_file(store, [*TEXTS, "Part of herons"])
    indexes.tend(store.id)
    assert search(store, vector=vector("x"), text="part herons")[0].text == "Part of herons"
    hit = search(store, vector=vector(TEXTS[3]), text="part")[0]
    assert hit.text == TEXTS[3]
    assert hit.score > 0.5  # it was ranked by its words, too
    assert len(search(store, vector=None, text="part", limit=50)) == 31  # there is nothing near: all are ranked
