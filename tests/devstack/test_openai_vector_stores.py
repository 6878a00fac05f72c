"""The stand-in's files and vector stores, through the real SDK."""

import httpx
import openai
import pytest

from tests.support.standin import eventually

TEXTS = {"cats.md": "Cats purr, and they sleep all day.", "ships.md": "Ships cross the ocean with containers."}


@pytest.fixture
def control(url):
    def tell(**wish):
        return httpx.post(f"{url}/_standin/library", json=wish).json()

    yield tell
    tell(shift=0, indexing=0.05)


@pytest.fixture
def store(client):
    made = client.vector_stores.create(name="texts", metadata={"of": "tests"})
    for number, (name, text) in enumerate(TEXTS.items()):
        file = client.files.create(file=(name, text.encode()), purpose="assistants")
        client.vector_stores.files.create(made.id, file_id=file.id, attributes={"number": number})
    eventually(lambda: client.vector_stores.retrieve(made.id).file_counts.completed == len(TEXTS))
    return made


def test_a_search_finds_what_is_meant(client, store):
    found = client.vector_stores.search(store.id, query="a pet that naps")
    assert found.data[0].filename == "cats.md" and found.data[0].content[0].text == TEXTS["cats.md"]
    assert found.data[0].score > found.data[1].score
    filtered = {"type": "eq", "key": "number", "value": 1}
    assert [hit.filename for hit in client.vector_stores.search(store.id, query="a pet", filters=filtered)] == [
        "ships.md"
    ]


def test_files_are_listed_in_pages_and_deleted(client, store):
    listed = list(client.vector_stores.files.list(store.id, limit=1))
    assert {client.files.retrieve(file.id).filename for file in listed} == set(TEXTS)
    client.vector_stores.files.delete(listed[0].id, vector_store_id=store.id)
    assert len(list(client.vector_stores.files.list(store.id))) == 1
    assert client.files.content(listed[0].id).read().decode() in TEXTS.values()
    client.files.delete(listed[0].id)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(listed[0].id)


def test_a_file_that_is_no_text_fails(client, store):
    file = client.files.create(file=("x.bin", b"\xff\xfe\x00"), purpose="assistants")
    client.vector_stores.files.create(store.id, file_id=file.id)
    eventually(lambda: client.vector_stores.files.retrieve(file.id, vector_store_id=store.id).status == "failed")
    assert client.vector_stores.files.retrieve(file.id, vector_store_id=store.id).last_error.code == "unsupported_file"


def test_a_store_expires(client, control):
    made = client.vector_stores.create(name="short", expires_after={"anchor": "last_active_at", "days": 1})
    assert made.expires_at == made.last_active_at + 86_400
    control(shift=86_500)
    assert client.vector_stores.retrieve(made.id).status == "expired"
    with pytest.raises(openai.BadRequestError):
        client.vector_stores.search(made.id, query="x")
    client.vector_stores.delete(made.id)


@pytest.mark.parametrize(
    "wanted",
    [
        {"expires_after": {"anchor": "created_at", "days": 1}},
        {"expires_after": {"anchor": "last_active_at", "days": 366}},
        {"metadata": {str(number): "x" for number in range(17)}},
        {"metadata": {"x": "x" * 513}},
    ],
)
def test_a_bad_store_is_refused(client, wanted):
    with pytest.raises(openai.BadRequestError):
        client.vector_stores.create(name="bad", **wanted)


def test_a_page_has_100_at_most(client):
    with pytest.raises(openai.BadRequestError):
        client.vector_stores.list(limit=101)


def test_faults(client, url):
    def fault(**wish):
        httpx.post(f"{url}/_standin/faults", json={"operation": "POST /v1/vector_stores", **wish}).raise_for_status()

    fault(kind="status", status=429)
    with pytest.raises(openai.RateLimitError):
        client.vector_stores.create(name="refused")
    fault(kind="lost", status=500)
    with pytest.raises(openai.InternalServerError):
        client.vector_stores.create(name="lost")
    names = [store.name for store in client.vector_stores.list()]
    assert "lost" in names and "refused" not in names
