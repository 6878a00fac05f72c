"""Searching over HTTP, in stores of both engines."""

import io
import time
from datetime import timedelta

import pytest
from openai.types import VectorStoreSearchResponse

from models.auth.tenants import Tenant
from models.platform.clock import now
from models.platform.database import database
from models.vector_stores.files import ProviderFile, VectorStoreFile
from models.vector_stores.stores import VectorStore
from tests.support.crowd import crowd
from tests.support.routes import assert_envelope
from tests.support.sockets import answering
from tests.support.vector_stores import make_object, make_store, put_texts
from workers.gateways import openai_vector_stores as provider

CATS, SHIPS = "Cats purr, and they sleep all day.", "Ships cross the ocean with containers."


@pytest.fixture
def ours(library, tenant):
    """A store of ours with two files."""
    store = make_store(tenant)
    put_texts(store, make_object(tenant, "cats.md"), [CATS], attributes={"year": 2020})
    put_texts(store, make_object(tenant, "ships.md"), [SHIPS], attributes={"year": 2024})
    return VectorStore.get_by_id(store.id)


@pytest.fixture
def theirs(library, tenant):
    """A store at the provider with two files, one of them a copy of an object."""
    store = make_store(tenant, "remote", engine="openai")
    VectorStore.update(provider_id=provider.make(store).id).where(VectorStore.id == store.id).execute()
    store = VectorStore.get_by_id(store.id)
    for name, text, is_copy in (("cats.md", CATS, True), ("ships.md", SHIPS, False)):
        stored = make_object(tenant, name)
        remote = provider.upload(stored.id, io.BytesIO(text.encode()), name).id
        object_id = stored.id if is_copy else None
        ProviderFile.create(tenant_id=tenant.id, provider_file_id=remote, object_id=object_id, filename=name)
        VectorStoreFile.create(
            tenant_id=tenant.id,
            vector_store_id=store.id,
            file_id=f"file-{stored.id.hex}" if is_copy else remote,
            object_id=object_id,
            filename=name,
            status="completed",
            attributes={"year": 2020 if is_copy else 2024},
        )
        provider.attach(store.provider_id, remote, {"attributes": {"year": 2020 if is_copy else 2024}})
    time.sleep(0.1)
    return store


@pytest.fixture(params=["ours", "theirs"])
def store(request):
    return request.getfixturevalue(request.param)


def search(caller, store, query="a pet that naps", **more):
    return caller("POST", f"/{store.id}/search", query=query, **more)


def test_what_is_meant_is_found_in_the_providers_shape(caller, store):
    answer = search(caller("viewer"), store)
    assert answer.status_code == 200, answer.text
    page = answer.json["data"]
    assert page["object"] == "vector_store.search_results.page" and page["search_query"] == ["a pet that naps"]
    assert (page["has_more"], page["next_page"]) == (False, None)
    hits = [VectorStoreSearchResponse.model_validate(hit, strict=True) for hit in page["data"]]
    assert hits[0].filename == "cats.md" and hits[0].content[0].text == CATS and hits[0].attributes == {"year": 2020}
    assert hits[0].score >= hits[-1].score and 0 <= hits[-1].score <= hits[0].score <= 1
    row = VectorStoreFile.get(VectorStoreFile.filename == "cats.md", VectorStoreFile.vector_store_id == store.id)
    assert hits[0].file_id == row.file_id


def test_filters_and_limits(admin, store):
    ships = {"type": "and", "filters": [{"type": "gte", "key": "year", "value": 2022}]}
    assert [hit["filename"] for hit in search(admin, store, filters=ships).json["data"]["data"]] == ["ships.md"]
    assert len(search(admin, store, max_num_results=1).json["data"]["data"]) == 1
    none = {"type": "eq", "key": "year", "value": 1999}
    assert search(admin, store, filters=none).json["data"]["data"] == []


def test_a_detached_file_is_not_found_although_the_engine_still_has_it(admin, store):
    row = VectorStoreFile.get(VectorStoreFile.filename == "cats.md", VectorStoreFile.vector_store_id == store.id)
    assert admin("DELETE", f"/{store.id}/files/{row.file_id}").status_code == 204
    assert [hit["filename"] for hit in search(admin, store).json["data"]["data"]] == ["ships.md"]


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({"query": ""}, "validation_error", None),
        ({"query": "   "}, "validation_error", None),
        ({"query": "x" * 4097}, "validation_error", None),
        ({"max_num_results": 0}, "validation_error", None),
        ({"max_num_results": 51}, "validation_error", None),
        ({"filters": {"type": "like", "key": "a", "value": "b"}}, "invalid_filters", "filters.type"),
        (
            {"filters": {"type": "and", "filters": [{"type": "eq", "key": "a"}]}},
            "invalid_filters",
            "filters.filters[0]",
        ),
        ({"ranking_options": {"ranker": "best"}}, "invalid_ranking_options", "ranking_options.ranker"),
        ({"ranking_options": {"score_threshold": 2}}, "invalid_ranking_options", "ranking_options.score_threshold"),
    ],
)
def test_a_bad_search_is_told_what_is_wrong(admin, tenant, body, code, path):
    answer = search(admin, make_store(tenant), **body)
    assert_envelope(answer, 422, code)
    assert path is None or path in answer.json["message"]


def test_a_query_may_have_4096_characters(admin, ours):
    assert search(admin, ours, query="é" * 4096).status_code == 200


def test_an_empty_store_answers_without_asking_anybody(admin, tenant, configure):
    configure(embedding_base_url="http://127.0.0.1:9/v1")
    assert search(admin, make_store(tenant)).json["data"]["data"] == []


def test_a_store_that_is_still_being_made(admin, tenant):
    store = make_store(tenant, engine="openai", status="creating")
    assert_envelope(search(admin, store), 409, "vector_store_not_ready")


def test_no_search_reaches_another_tenants_files(admin, ours, library):
    other = Tenant.create(slug="other", name="Other")
    put_texts(make_store(other), make_object(other, "secret.md"), ["A pet that naps: their secret."])
    assert "secret" not in search(admin, ours, max_num_results=50).text


def used(feature):
    statement = "select coalesce(sum(quantity), 0) from usage_entry where feature = %s"
    return int(database.execute_sql(statement, (feature,)).fetchone()[0])


def test_searches_are_counted(admin, ours):
    for _ in range(3):
        search(admin, ours)
    assert used("searches") == 3 and used("embedding_tokens") > 0
    search(admin, ours, filters={"type": "nope"})
    assert used("searches") == 3, "a refused search is free"


def test_a_plan_limits_them(admin, ours, limited, subscribed):
    subscribed("active")
    limited("searches", soft=1, hard=2)
    answers = [search(admin, ours) for _ in range(3)]
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    assert "searches" in answers[1].headers.get("X-Usage-Warning", "")
    assert_envelope(answers[2], answers[2].status_code, answers[2].json["error"])
    assert answers[2].status_code == 429 and used("searches") == 2


def test_a_failed_search_gives_back_what_it_had_reserved(admin, ours, limited, subscribed, configure):
    subscribed("active")
    limited("searches", hard=1)
    configure(embedding_base_url="http://127.0.0.1:9/v1")
    assert search(admin, ours).status_code == 503
    configure(embedding_base_url=None)
    assert search(admin, ours).status_code == 200


def test_searches_of_a_tenant_are_limited_by_the_minute(admin, caller, ours, configure):
    configure(vector_search_rate_limit_per_minute=2)
    assert [search(call, ours).status_code for call in (admin, caller("viewer"), admin)] == [200, 200, 429]


def test_a_crowd_needs_no_more_connections_than_there_are(admin, ours):
    assert {answer.status_code for answer in crowd(100, lambda _: search(admin, ours))} == {200}


def trickle(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["ours", "theirs"])
@pytest.mark.parametrize("slowly", [trickle, lambda _: time.sleep(5)])
def test_nobody_waits_long_for_a_slow_server(admin, request, configure, monkeypatch, name, slowly):
    store = request.getfixturevalue(name)
    monkeypatch.setattr("workers.gateways.searching.SECONDS", 0.3)
    with answering() as server:
        server.answer_with(slowly)
        url = f"http://127.0.0.1:{server.port}/v1"
        configure(embedding_base_url=url, openai_base_url=url)
        began = time.monotonic()
        answer = search(admin, store)
    assert time.monotonic() - began < 4
    assert_envelope(answer, 503, "embeddings_timeout" if name == "ours" else "provider_unavailable")


def test_a_provider_that_is_away_or_busy(admin, theirs, library):
    operation = "POST /v1/vector_stores/{store_id}/search"
    library.fault(operation, status=500)
    assert_envelope(search(admin, theirs), 503, "provider_unavailable")
    library.fault(operation, status=429)
    assert_envelope(search(admin, theirs), 429, "provider_rate_limited")


def test_the_time_of_the_last_use_is_written_once_a_minute(admin, ours):
    keep = {"anchor": "last_active_at", "days": 2}
    before = now() - timedelta(minutes=5)
    VectorStore.update(last_active_at=before, expires_after=keep, expires_at=now() + timedelta(hours=1)).execute()
    search(admin, ours)
    first = VectorStore.get_by_id(ours.id)
    assert first.last_active_at > before and first.expires_at > now() + timedelta(days=1)
    search(admin, ours)
    assert VectorStore.get_by_id(ours.id).last_active_at == first.last_active_at
