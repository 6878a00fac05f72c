"""Chunks are written in batches, seen all at once, and removed without a trace."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from models.platform.clock import now
from models.platform.database import database, release, transaction
from models.platform.ids import uuid7
from models.vector_stores import chunks, editions, indexes, removal, tables
from models.vector_stores.chunks import Chunk, DimensionsDiffer
from models.vector_stores.editions import Edition, FileGone, NotNext, NotStaged
from models.vector_stores.files import FAILED, VectorStoreFile
from models.vector_stores.search import search
from models.vector_stores.stores import VectorStore
from tests.support.chunks import add_file, make_chunks, make_file, make_store, publish, vector, write

TEXTS = [f"Part {number}" for number in range(7)]


def seen(store):
    return sorted(hit.text for hit in search(store, vector=vector("x"), text="part", limit=50))


def rows(store):
    """How many chunks are stored, seen or not."""
    table = tables.table_of(VectorStore.get_by_id(store.id))
    return database.execute_sql(f"select count(*) from {table} where vector_store_id = %s", (store.id,)).fetchone()[0]


def delete(row):
    type(row).update(deleted_at=now()).where(type(row).id == row.id).execute()


def test_writing_goes_on_where_it_was_interrupted(tenant, sized):
    store = make_store(tenant)
    file, batch = make_file(store), make_chunks(TEXTS)
    assert editions.staged(file.id, 1) == 0
    chunks.stage(file, 1, 0, batch[:3])
    assert editions.staged(file.id, 1) == 3
    with pytest.raises(NotNext):
        chunks.stage(file, 1, 0, batch[:3])  # by a worker that was taken for dead
    with pytest.raises(NotNext):
        chunks.stage(file, 1, 5, batch[5:])
    chunks.stage(file, 1, 3, batch[3:])
    assert seen(store) == []
    assert publish(file) == 7
    assert (seen(store), rows(store), file.chunk_count) == (TEXTS, 7, 7)


def test_a_batch_is_written_whole_or_not_at_all(tenant, sized):
    store = make_store(tenant)
    file = make_file(store)
    write(file, TEXTS[:2])
    with pytest.raises(DimensionsDiffer):
        chunks.stage(file, 1, 2, [*make_chunks(TEXTS[2:4]), Chunk("x", 1, None, [1.0])])
    with pytest.raises(DimensionsDiffer) as refused:
        chunks.stage(file, 1, 2, [Chunk("x", 1, None, [1.0, 0.0])])
    assert refused.value.details == {"expected": 8, "actual": 2}
    assert (editions.staged(file.id, 1), rows(store)) == (2, 2)


def test_a_new_edition_replaces_the_old_one_at_once(tenant, sized):
    store = make_store(tenant)
    file = add_file(store, TEXTS)
    generation = editions.next_generation(file.id)
    write(file, ["New part"], generation)
    assert seen(store) == TEXTS
    with pytest.raises(ZeroDivisionError), transaction():
        editions.publish(file, generation)
        1 / 0  # noqa: B018
    assert seen(store) == TEXTS
    assert publish(file, generation) == 1
    assert (seen(store), rows(store)) == (["New part"], 8)
    assert removal.remove_superseded(file.id) == 7
    assert (seen(store), rows(store), generation) == (["New part"], 1, 2)


def test_nothing_is_published_that_was_not_written(tenant):
    file = make_file(make_store(tenant))
    with pytest.raises(NotStaged):
        publish(file)
    chunks.stage(file, 1, 0, [])
    with pytest.raises(NotStaged):
        publish(file)


def test_a_detached_file_takes_no_chunks(tenant, sized):
    store = make_store(tenant)
    file = add_file(store, TEXTS)
    delete(file)
    with pytest.raises(FileGone):
        write(file, TEXTS, 2)
    with pytest.raises(FileGone):
        publish(file)
    assert removal.remove_file(file.id) == 7
    assert (rows(store), Edition.select().count()) == (0, 0)
    assert removal.remove_file(file.id) == 0


def test_a_deleted_store_takes_no_chunks(tenant, sized):
    store = make_store(tenant)
    file, other = add_file(store, TEXTS), add_file(make_store(tenant), TEXTS)
    delete(store)
    with pytest.raises(FileGone):
        write(file, TEXTS, 2)
    assert removal.remove_store(store.id) == 7
    assert (rows(store), removal.remove_store(store.id)) == (0, 0)
    assert seen(VectorStore.get_by_id(other.vector_store_id)) == TEXTS


def test_many_chunks_are_removed_in_short_steps(tenant, sized, monkeypatch):
    monkeypatch.setattr(removal, "REMOVED_AT_ONCE", 3)
    store = make_store(tenant)
    file, kept = add_file(store, TEXTS), add_file(store, ["Kept part"])
    delete(file)
    assert removal._remove_some(Edition.get(Edition.file_row_id == file.id).id, store.id) == 3
    assert (editions.staged(file.id, 1), rows(store)) == (4, 5)
    assert removal.remove_file(file.id) == 4
    assert (seen(store), kept.chunk_count) == (["Kept part"], 1)


@pytest.mark.parametrize("is_large", [(False, False), (False, True), (True, False)])
def test_equal_content_is_copied_from_another_file(tenant, monkeypatch, is_large):
    monkeypatch.setattr(chunks, "COPIED_AT_ONCE", 3)
    store, other = make_store(tenant), make_store(tenant)
    one = add_file(other, TEXTS)
    add_file(store, ["Another part"])
    for row, large in zip((other, store), is_large, strict=True):
        assert indexes.tend(row.id) if large else True
    for _ in range(2):  # from another store, then in the same one
        file = make_file(store)
        generation = chunks.copy_from(one, file)
        assert (publish(file, generation), generation) == (7, 1)
        one = file
    hits = search(store, vector=vector(TEXTS[3]), text="", limit=20)
    assert [hit.text for hit in hits[:2]] == [TEXTS[3]] * 2
    assert sorted(hit.text for hit in hits) == sorted([*TEXTS * 2, "Another part"])


def test_a_copy_goes_on_where_it_was_interrupted(tenant, monkeypatch):
    monkeypatch.setattr(chunks, "COPIED_AT_ONCE", 3)
    store = make_store(tenant)
    one, file = add_file(store, TEXTS), make_file(store)
    assert chunks._copy_some(one.id, file, 1) is False
    assert editions.staged(file.id, 1) == 3
    chunks.copy_from(one, file, 1)
    assert publish(file) == 7
    with pytest.raises(NotStaged):
        chunks.copy_from(make_file(store), make_file(store))


def test_a_copy_never_ends_early_because_what_it_copies_is_removed(tenant, monkeypatch):
    monkeypatch.setattr(chunks, "COPIED_AT_ONCE", 3)
    store = make_store(tenant)
    one, file = add_file(store, TEXTS), make_file(store)
    assert chunks._copy_some(one.id, file, 1) is False
    use = chunks.tables.use

    def replaced_meanwhile(store_id):
        monkeypatch.setattr(chunks.tables, "use", use)
        with ThreadPoolExecutor(1) as other:
            other.submit(renew).result()
        return use(store_id)

    def renew():
        try:
            write(one, TEXTS, 2)
            publish(one, 2)
            removal.remove_superseded(one.id)
        finally:
            release()

    monkeypatch.setattr(chunks.tables, "use", replaced_meanwhile)
    with pytest.raises(NotStaged):
        chunks.copy_from(one, file, 1)
    chunks.copy_from(one, file, 1)
    assert publish(file) == 7


def test_the_sweep_removes_only_what_nobody_needs(tenant, sized):
    store, gone = make_store(tenant), make_store(tenant)
    kept, detached, failed, going_on = (add_file(store, [f"Part of {name}"]) for name in ("kept", "b", "c", "d"))
    add_file(gone, TEXTS)
    write(kept, TEXTS, 2)
    publish(kept, 2)
    for file in (failed, going_on):
        write(file, TEXTS, 2)
    Edition.update(created_at=now() - timedelta(days=2)).where(Edition.generation == 2).execute()
    VectorStoreFile.update(status=FAILED).where(VectorStoreFile.id == failed.id).execute()
    VectorStoreFile.update(status="in_progress").where(VectorStoreFile.id == going_on.id).execute()
    delete(detached)
    delete(gone)
    # the deleted store, the first of `kept`, `detached`, the second of `failed`
    assert removal.sweep() == 7 + 1 + 1 + 7
    assert removal.sweep() == 0
    assert (editions.staged(going_on.id, 2), rows(store)) == (7, 7 + 1 + 1 + 7)
    assert seen(store) == sorted([*TEXTS, "Part of c", "Part of d"])
    own = database.execute_sql("select count(*) from pg_tables where schemaname = 'vector_chunks'").fetchone()[0]
    assert own == (0 if sized == "small" else 1)


def test_what_is_seen_is_never_removed(tenant):
    store = make_store(tenant)
    file = add_file(store, TEXTS)
    assert removal.remove_file(file.id) == 0  # it is not deleted
    assert seen(store) == TEXTS


def test_text_is_stored_as_it_is_but_for_what_postgres_cannot_store(tenant):
    store = make_store(tenant)
    texts = ["a\tb\\N\n\\.\r", "x\x00y", "鷺🪶", "\ud800", ""]
    file = make_file(store)
    chunks.stage(file, 1, 0, [Chunk(text, 1, None, vector(text)) for text in texts])
    publish(file)
    found = {hit.position: hit.text for hit in search(store, vector=vector("x"), text="")}
    assert found == dict(enumerate(["a\tb\\N\n\\.\r", "xy", "鷺🪶", "?", ""]))


def test_an_own_table_has_a_name_that_only_the_id_decides(tenant):
    assert tables.own_table(uuid7()).startswith("vector_chunks.store_")
    with pytest.raises(ValueError, match="hexadecimal"):
        tables.own_table("x; drop table vector_chunk")
