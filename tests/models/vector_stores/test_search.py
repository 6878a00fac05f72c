"""Search finds what it should, in small stores and in large ones, and nothing else."""

import struct

import pytest

from models.platform.clock import now
from models.platform.ids import uuid7
from models.vector_stores import chunks
from models.vector_stores.chunks import Chunk, DimensionsDiffer, InvalidVector
from models.vector_stores.files import VectorStoreFile
from models.vector_stores.search import search
from models.vector_stores.stores import VectorStore
from tests.support.chunks import add_file, make_file, make_store, publish, vector, write

BIRDS = ["Herons nest in high trees.", "Owls hunt at night.", "Swifts sleep while they fly."]


def found(store, about, text="", **options):
    return [hit.text for hit in search(store, vector=vector(about), text=text, **options)]


def test_the_nearest_meaning_comes_first(tenant, sized):
    store = make_store(tenant)
    file = add_file(store, BIRDS, "birds.txt", attributes={"year": 2024})
    hits = search(store, vector=vector(BIRDS[1]), text="", ranking={"ranker": "none"})
    assert (hits[0].text, hits[0].position, hits[0].file.id) == (BIRDS[1], 1, file.id)
    assert hits[0].score == hits[0].similarity == pytest.approx(1, abs=0.001)
    assert (hits[0].file.filename, hits[0].file.attributes) == ("birds.txt", {"year": 2024})
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert VectorStore.get_by_id(store.id).has_own_table == (sized != "small")


def test_words_and_meaning_are_fused(tenant, sized):
    store = make_store(tenant)
    add_file(store, [*BIRDS, "Invoice ZX-4711 is due."])
    hits = search(store, vector=vector(BIRDS[0]), text="When is zx-4711 due?")
    assert {hit.text for hit in hits[:2]} == {BIRDS[0], "Invoice ZX-4711 is due."}
    best = search(store, vector=vector(BIRDS[0]), text="herons nesting")[0]
    assert (best.text, best.score) == (BIRDS[0], pytest.approx(1))  # the first in both
    assert found(store, BIRDS[0], "herons nesting", ranking={"score_threshold": 0.9}) == [BIRDS[0]]


def test_weights_decide_between_words_and_meaning(tenant, sized):
    store = make_store(tenant)
    add_file(store, BIRDS)
    by_words = {"hybrid_search": {"embedding_weight": 0, "text_weight": 1}}
    by_meaning = {"hybrid_search": {"embedding_weight": 1, "text_weight": 0}}
    assert found(store, BIRDS[0], "owls", ranking=by_words) == [BIRDS[1]]
    assert found(store, BIRDS[0], "owls", ranking=by_meaning)[0] == BIRDS[0]
    hits = search(store, vector=None, text="owls")
    assert [(hit.text, hit.similarity) for hit in hits] == [(BIRDS[1], None)]


ODD_TEXTS = (
    "the of and is",
    "\x00",
    "a\x00b",
    "鷺は高い木に巣を作る",
    "' | 'x' & \\ !(<->",
    "wren:*",
    "%s %(x)s {table}",
    "\ud800",
    "x" * 10_000,
    " ".join(f"word{number}" for number in range(2000)),
    "",
)


def test_any_text_may_be_searched_for(tenant):
    store = make_store(tenant)
    add_file(store, BIRDS)
    for text in ODD_TEXTS:
        assert found(store, BIRDS[2], text)[0] == BIRDS[2]
        assert search(store, vector=None, text=text) == []


def test_a_filter_selects_files(tenant, sized):
    store = make_store(tenant)
    for number, text in enumerate(BIRDS):
        add_file(store, [text], attributes={"number": number})
    at_least_one = {"type": "gte", "key": "number", "value": 1}
    assert set(found(store, BIRDS[0], "herons owls", filters=at_least_one)) == set(BIRDS[1:])
    assert found(store, BIRDS[0], filters={"type": "eq", "key": "number", "value": 7}) == []


def test_as_many_chunks_are_found_as_were_asked_for(tenant, sized):
    store = make_store(tenant)
    texts = [f"Entry {number}." for number in range(120)]
    file = add_file(store, texts)
    assert len(found(store, "anything", "entry", limit=50)) == 50
    assert set(found(store, "anything", limit=120)) == set(texts)
    VectorStoreFile.update(deleted_at=now()).where(VectorStoreFile.id == file.id).execute()
    assert found(store, texts[0], "entry") == []


def test_an_empty_store_has_no_hits(tenant, sized):
    store = make_store(tenant)
    assert found(store, "anything", "anything") == []
    write(make_file(store), BIRDS)  # staged only
    assert found(store, BIRDS[0], "herons") == []


def test_a_deleted_store_has_no_hits(tenant, sized):
    store = make_store(tenant)
    add_file(store, BIRDS)
    VectorStore.update(deleted_at=now()).where(VectorStore.id == store.id).execute()
    assert found(store, BIRDS[0], "herons") == []


def test_no_search_sees_another_store(tenant, sized):
    stores = [make_store(tenant) for _ in range(3)]
    for number, store in enumerate(stores):
        add_file(store, [*BIRDS, f"Only in {number}."])
    for number, store in enumerate(stores):
        assert set(found(store, BIRDS[0], "only herons", limit=50)) == {*BIRDS, f"Only in {number}."}


def test_vectors_of_zeros_are_found_last(tenant, sized):
    store = make_store(tenant)
    file = make_file(store)
    batch = [Chunk("nothing", 1, None, [0.0] * 8), Chunk("something", 1, 3, vector("something"))]
    chunks.stage(file, 1, 0, batch)
    publish(file)
    hits = search(store, vector=vector("something"), text="", limit=2)
    assert [(hit.text, hit.page, hit.score) for hit in hits] == [
        ("something", 3, pytest.approx(1, abs=0.001)),
        ("nothing", None, 0),
    ]


def test_stores_may_have_vectors_of_different_lengths(tenant, sized):
    lengths = (3, 8, 300)
    for length in lengths:
        store = make_store(tenant)
        file = make_file(store)
        as_bytes = struct.pack(f"<{length}f", *vector("x", length))
        chunks.stage(file, 1, 0, [Chunk("x", 1, None, as_bytes), Chunk("y", 1, None, vector("y", length))])
        publish(file)
        assert [hit.text for hit in search(store, vector=as_bytes, text="")] == ["x", "y"]
        with pytest.raises(DimensionsDiffer) as refused:
            search(store, vector=vector("x", length + 1), text="")
        assert refused.value.details == {"expected": length, "actual": length + 1}


def test_a_bad_vector_is_refused(tenant):
    store = make_store(tenant)
    add_file(store, BIRDS)
    for bad in ([], [float("nan")], [1.0, float("inf")], [1e6], [0.5] * 4001, b"abc", b""):
        with pytest.raises(InvalidVector):
            search(store, vector=bad, text="")
        with pytest.raises(InvalidVector):
            chunks.stage(make_file(store), 1, 0, [Chunk("x", 1, None, bad)])


def test_a_store_that_does_not_exist_has_no_hits(tenant):
    assert found(VectorStore(id=uuid7(), tenant_id=tenant.id), "x", "x") == []
