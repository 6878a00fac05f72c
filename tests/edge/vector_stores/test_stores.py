"""Vector stores over HTTP: made, listed, read and deleted."""

from datetime import timedelta

import pytest

from models.auth.tenants import Tenant
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.vector_stores.stores import VectorStore
from tests.support.crowd import crowd
from tests.support.routes import assert_envelope
from tests.support.vector_stores import make_store

KEEP = {"anchor": "last_active_at", "days": 7}


def test_from_start_to_end(admin, tenant, jobs_named):
    made = admin("POST", name="Papers", description="All of them", expires_after=KEEP, metadata={"of": "us"})
    assert made.status_code == 201, made.text
    shown = made.json
    assert shown["openai_id"] == f"vs_{shown['id'].replace('-', '')}" and shown["tenant_id"] == str(tenant.id)
    assert (shown["status"], shown["engine"], shown["usage_bytes"]) == ("completed", "pgvector", 0)
    assert shown["expires_after"] == KEEP and shown["expires_at"] > shown["last_active_at"]
    assert (shown["name"], shown["description"], shown["metadata"]) == ("Papers", "All of them", {"of": "us"})
    assert admin("GET", f"/{shown['id']}").json == shown
    assert admin("GET").json == {"items": [shown], "total": 1, "next_cursor": None}
    assert admin("DELETE", f"/{shown['id']}").status_code == 204
    assert_envelope(admin("DELETE", f"/{shown['id']}"), 404, "vector_store_not_found")
    assert_envelope(admin("GET", f"/{shown['id']}"), 404, "vector_store_not_found")
    assert admin("GET").json == {"items": [], "total": 0, "next_cursor": None}
    assert [job.args for job in jobs_named("vector_store.remove")] == [{"store_id": shown["id"]}]
    actions = [event.action for event in AuditEvent.select().order_by(AuditEvent.id)]
    assert [action for action in actions if action.startswith("vector_store")] == [
        "vector_store.created",
        "vector_store.deleted",
    ]


def test_a_name_is_unique_among_living_stores(admin):
    first = admin("POST", name="papers").json
    again = admin("POST", name="papers")
    assert_envelope(again, 409, "vector_store_name_taken")
    assert again.json["message"] == "A vector store with this name already exists"
    assert admin("POST", name="Papers").status_code == 201, "case counts"
    admin("DELETE", f"/{first['id']}")
    assert admin("POST", name="papers").status_code == 201


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"unknown": 1}, ["body", "name"]),
        ({"name": ""}, ["body", "name"]),
        ({"name": "x" * 129}, ["body", "name"]),
        ({"name": "x", "description": "x" * 1001}, ["body", "description"]),
        ({"name": "x", "expires_after": {}}, ["body", "expires_after", "anchor"]),
        ({"name": "x", "expires_after": {**KEEP, "anchor": "created_at"}}, ["body", "expires_after", "anchor"]),
        ({"name": "x", "expires_after": {**KEEP, "days": 0}}, ["body", "expires_after", "days"]),
        ({"name": "x", "expires_after": {**KEEP, "days": 366}}, ["body", "expires_after", "days"]),
        ({"name": "x", "expires_after": {**KEEP, "days": "7"}}, ["body", "expires_after", "days"]),
        ({"name": "x", "expires_after": {**KEEP, "more": 1}}, ["body", "expires_after", "more"]),
        ({"name": "x", "metadata": {str(number): "x" for number in range(17)}}, ["body", "metadata"]),
        ({"name": "x", "metadata": {"x" * 65: "x"}}, ["body", "metadata"]),
        ({"name": "x", "metadata": {"x": "x" * 513}}, ["body", "metadata"]),
        ({"name": "x", "metadata": {"x": 1}}, ["body", "metadata"]),
    ],
)
def test_a_bad_wish_is_told_what_is_wrong(admin, body, where):
    answer = admin("POST", **body)
    assert_envelope(answer, 422, "validation_error")
    assert where in [problem["loc"] for problem in answer.json["details"]], answer.json["details"]
    assert not VectorStore.select().exists()


def test_who_may_what(caller, tenant):
    store = make_store(tenant)
    for role in ("viewer", "member"):
        call = caller(role)
        assert call("GET").status_code == call("GET", f"/{store.id}").status_code == 200
        assert_envelope(call("POST", name="x"), 403, "insufficient_role")
        assert_envelope(call("DELETE", f"/{store.id}"), 403, "insufficient_role")
        assert_envelope(call("POST", f"/{store.id}/files", file_id="x"), 403, "insufficient_role")
        assert_envelope(call("DELETE", f"/{store.id}/files/x"), 403, "insufficient_role")
        assert_envelope(call("POST", f"/{store.id}/files/x/index"), 403, "insufficient_role")


def test_another_tenants_store_is_not_there(admin):
    theirs = make_store(Tenant.create(slug="other", name="Other"))
    assert admin("GET").json["total"] == 0
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/files")):
        assert_envelope(admin(method, f"/{theirs.id}{path}"), 404, "vector_store_not_found")
    assert_envelope(admin("POST", f"/{theirs.id}/search", query="x"), 404, "vector_store_not_found")
    assert_envelope(admin("POST", f"/{theirs.id}/files", file_id="x"), 404, "vector_store_not_found")
    assert_envelope(admin("GET", f"/{theirs.id}/files/x"), 404, "file_not_found")
    assert_envelope(admin("DELETE", f"/{theirs.id}/files/x"), 404, "file_not_found")
    assert VectorStore.get_by_id(theirs.id).deleted_at is None


def test_an_id_that_is_none_is_404(admin):
    assert_envelope(admin("GET", "/nope"), 404)


def test_fifty_at_once_make_as_many_as_may_be(admin, configure):
    configure(vector_max_stores_per_tenant=4)
    answers = crowd(50, lambda number: admin("POST", name=f"store {number}"))
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [403] * 46
    refused = next(answer for answer in answers if answer.status_code == 403)
    assert_envelope(refused, 403, "vector_store_limit_reached")
    assert refused.json["message"] == "Maximum vector stores reached for tenant"


def test_of_fifty_with_one_name_one_is_made(admin):
    answers = crowd(50, lambda _: admin("POST", name="same"))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    assert VectorStore.select().count() == 1


def test_lists_by_offset_and_by_cursor_show_each_store_once(admin, tenant):
    time = now()
    for number in range(7):
        make_store(tenant, str(number), created_at=time)  # equal times: the id decides
    pages = [admin("GET", f"?limit=3&offset={offset}").json for offset in (0, 3, 6)]
    by_offset = [item["id"] for page in pages for item in page["items"]]
    assert len(set(by_offset)) == 7 and [page["total"] for page in pages] == [7, 7, 7]
    by_cursor, cursor = [], ""
    while cursor is not None:
        page = admin("GET", f"?limit=3{cursor and '&cursor=' + cursor}").json
        by_cursor, cursor = by_cursor + [item["id"] for item in page["items"]], page["next_cursor"]
    assert by_cursor == by_offset
    assert_envelope(admin("GET", "?cursor=nonsense"), 400, "invalid_cursor")
    for bad in ("limit=0", "limit=101", "offset=-1"):
        assert_envelope(admin("GET", f"?{bad}"), 422)


def test_a_store_whose_time_is_over_is_expired_before_anybody_writes_it_down(admin, tenant):
    store = make_store(tenant, expires_after=KEEP, expires_at=now() - timedelta(seconds=1))
    assert admin("GET", f"/{store.id}").json["status"] == "expired"
    assert_envelope(admin("POST", f"/{store.id}/search", query="x"), 409, "vector_store_expired")
