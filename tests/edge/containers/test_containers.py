"""The endpoints of containers, with a worker beside them."""

import pytest

from models.auth.tenants import Tenant
from models.containers.container import Container
from tests.support.containers import at_provider, make_container, reload
from tests.support.crowd import crowd
from tests.support.provider import work, worker

PATH = "/api/v1/containers"
CREATE, LIST = "POST /v1/containers", "GET /v1/containers"
SHAPE = {
    "id",
    "openai_id",
    "tenant_id",
    "owner_user_id",
    "name",
    "memory_limit",
    "status",
    "expires_after",
    "last_active_at",
    "metadata",
    "created_at",
    "updated_at",
    "error_code",
}


@pytest.fixture
def caller(caller_below):
    """caller(role) -> call(method, path, **body) of a new user, below /api/v1/containers."""
    return caller_below(PATH)


@pytest.fixture
def admin(caller):
    return caller()


@pytest.fixture
def quick(monkeypatch):
    """Nobody waits for the provider."""
    from edge.resources import containers

    monkeypatch.setattr(containers, "CREATE_SECONDS", 0)
    monkeypatch.setattr(containers, "REFRESH_SECONDS", 0)


def test_a_container_is_made_read_and_deleted(library, admin):
    with worker():
        made = admin("POST", name="Work 1", memory_limit="4g", metadata={"team": {"id": 7}})
        assert made.status_code == 201 and set(made.json) == SHAPE
        assert (made.json["status"], made.json["memory_limit"], made.json["metadata"]) == (
            "running",
            "4g",
            {"team": {"id": 7}},
        )
        assert made.json["openai_id"].startswith("cntr_") and made.json["last_active_at"].endswith("Z")
        one = f"/{made.json['id']}"
        assert admin("GET", one).json == made.json
        listed = admin("GET").json
        assert (listed["total"], listed["items"]) == (1, [made.json])
        assert admin("DELETE", one).status_code == 204
    assert [admin(method, one).status_code for method in ("DELETE", "GET")] == [404, 404]
    work()
    assert at_provider(library) == {} or made.json["openai_id"] not in str(library.all("containers"))


def test_what_is_not_done_in_time_is_creating_and_goes_on(library, admin, quick):
    made = admin("POST", name="slow")
    assert (made.status_code, made.json["status"], made.json["openai_id"]) == (201, "creating", "")
    work()
    assert admin("GET", f"/{made.json['id']}").json["status"] == "running"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [(400, 422, "provider_rejected"), (401, 502, "provider_authentication"), (403, 502, "provider_authentication")],
)
def test_what_the_provider_refuses_is_an_error_and_leaves_nothing(library, admin, fault, status, code):
    library.fault(CREATE, status=fault)
    with worker():
        refused = admin("POST", name="work")
        assert (refused.status_code, refused.json["error"]) == (status, code)
        assert ("expires_after" in refused.json["message"]) == (code == "provider_rejected")  # the usual cause
        assert admin("GET").json["total"] == 0
        assert admin("POST", name="work").status_code == 201


def test_without_a_key_the_provider_is_not_configured(library, admin, configure):
    configure(openai_api_key=None, openai_base_url=None)
    with worker():
        refused = admin("POST", name="work")
    assert (refused.status_code, refused.json["error"]) == (503, "provider_not_configured")
    assert refused.headers["Retry-After"]


def test_a_failed_container_says_why_and_can_be_deleted(library, admin, quick):
    made = admin("POST", name="work").json
    library.fault(CREATE, status=400)
    work()
    read = admin("GET", f"/{made['id']}").json
    assert (read["status"], read["error_code"]) == ("failed", "provider_rejected")
    assert admin("DELETE", f"/{made['id']}").status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 129},
        {"name": "a\0b"},
        {"name": 1},
        {"name": "a", "expires_after": {"anchor": "created_at", "minutes": 5}},
        {"name": "a", "expires_after": {"anchor": "last_active_at", "minutes": 0}},
        {"name": "a", "expires_after": {"anchor": "last_active_at", "minutes": "5"}},
        {"name": "a", "expires_after": {"anchor": "last_active_at", "minutes": 5, "more": 1}},
        {"name": "a", "file_ids": ["x"] * 101},
        {"name": "a", "file_ids": ["x" * 256]},
        {"name": "a", "file_ids": [1]},
        {"name": "a", "metadata": {"a": "x" * 17_000}},
        {"name": "a", "metadata": {"a": "\0"}},
        {"name": "a", "metadata": []},
        {"name": "a", "memory_limit": "2g"},
        {"name": "a", "memory_limit": ""},
    ],
)
def test_a_body_that_cannot_be_is_refused(admin, body):
    refused = admin("POST", **body) if body else admin("POST", nothing=1)
    assert refused.status_code == 422 and refused.json["error"]
    assert not Container.select().count()


def test_a_name_is_taken_once_and_the_limit_holds(admin, quick, configure):
    configure(container_max_containers_per_tenant=2)
    assert admin("POST", name="one").status_code == 201
    again = admin("POST", name="one")
    assert (again.status_code, again.json["error"]) == (409, "container_name_taken")
    assert admin("POST", name="One").status_code == 201
    full = admin("POST", name="three")
    assert (full.status_code, full.json["error"]) == (403, "container_limit_reached")
    unknown = admin("POST", name="one", file_ids=["file-1"])
    assert unknown.status_code == 403  # the limit comes first
    assert admin("GET").json["total"] == 2


def test_a_tenant_makes_so_many_in_a_minute(admin, caller, quick, configure):
    configure(container_creations_per_minute=2)
    assert [admin("POST", name=name).status_code for name in "ab"] == [201, 201]
    refused = caller()("POST", name="c")
    assert refused.status_code == 429 and refused.headers["Retry-After"]
    assert caller(tenant=Tenant.create(slug="other", name="Other"))("POST", name="c").status_code == 201


def test_a_list_has_pages_and_a_cursor_without_gaps(admin, tenant):
    made = [str(make_container(tenant, f"c{number}").id) for number in range(5)][::-1]
    Container.update(created_at=Container.get().created_at).execute()  # all at the same moment
    first = admin("GET", "?limit=2").json
    assert [row["id"] for row in first["items"]] == made[:2] and first["total"] == 5
    seen, cursor = list(first["items"]), first["next_cursor"]
    while cursor:
        page = admin("GET", f"?limit=2&cursor={cursor}").json
        seen, cursor = [*seen, *page["items"]], page["next_cursor"]
    assert [row["id"] for row in seen] == made
    assert [row["id"] for row in admin("GET", "?limit=2&offset=3").json["items"]] == made[3:]
    assert [admin("GET", query).status_code for query in ("?limit=0", "?limit=101", "?offset=-1", "?cursor=x")] == [
        422,
        422,
        422,
        400,
    ]


def test_old_news_are_asked_for_and_fresh_ones_are_not(library, admin):
    with worker():
        made = admin("POST", name="work", expires_after={"anchor": "last_active_at", "minutes": 5}).json
        library.tell(shift=6 * 60)
        assert admin("GET", f"/{made['id']}").json["status"] == "running"  # a moment old
        Container.update(synced_at=None).execute()
        assert admin("GET", f"/{made['id']}").json["status"] == "expired"


def test_a_read_does_not_hang_on_a_provider_that_is_away(library, admin, tenant, quick):
    container = make_container(tenant, provider_id="cntr_1")
    library.fault(LIST, status=503, times=3)
    assert admin("GET", f"/{container.id}").json["status"] == "running"
    work()
    assert reload(container).synced_at is None


def test_agents_get_and_lose_containers(admin, caller, tenant):
    container = make_container(tenant)
    binding = "/agents/triage/container"
    assert admin("POST", binding, container_id=str(container.id)).status_code == 204
    assert admin("POST", binding, container_id=str(container.id)).status_code == 204
    [shown] = caller("viewer")("GET", "/agents").json["items"]
    assert (shown["agent_key"], shown["container_id"]) == ("triage", str(container.id))
    assert [admin("DELETE", binding).status_code for _ in range(2)] == [204, 204]
    assert admin("GET", "/agents").json["items"] == []


def test_a_binding_that_cannot_be_is_refused(admin, tenant):
    container, theirs = make_container(tenant), make_container(Tenant.create(slug="other", name="Other"))
    unknown = admin("POST", "/agents/nobody/container", container_id=str(container.id))
    assert (unknown.status_code, unknown.json["error"]) == (404, "agent_not_found")
    assert admin("POST", f"/agents/{'a' * 65}/container", container_id=str(container.id)).status_code == 404
    assert admin("DELETE", f"/agents/{'a' * 65}/container").status_code == 204
    assert admin("DELETE", "/agents/nobody/container").status_code == 204
    assert admin("POST", "/agents/triage/container", container_id="x").status_code == 422
    foreign = admin("POST", "/agents/triage/container", container_id=str(theirs.id))
    assert (foreign.status_code, foreign.json["error"]) == (404, "container_not_found")


def test_other_tenants_and_lower_roles_reach_nothing(library, caller, tenant):
    container = make_container(tenant)
    one, other = f"/{container.id}", Tenant.create(slug="other", name="Other")
    stranger = caller(tenant=other)
    assert [stranger(method, one).status_code for method in ("GET", "DELETE")] == [404, 404]
    assert stranger("GET").json["total"] == 0
    viewer, member = caller("viewer"), caller("member")
    assert viewer("GET", one).status_code == member("GET").status_code == 200
    for low in (viewer, member):
        assert low("POST", name="mine").status_code == low("DELETE", one).status_code == 403
        assert low("POST", "/agents/triage/container", container_id=str(container.id)).status_code == 403
        assert low("DELETE", "/agents/triage/container").status_code == 403
    assert reload(container).deleted_at is None


def test_fifty_requests_at_once_make_one_container_of_a_name(library, admin):
    with worker(2):
        answers = crowd(20, lambda _: admin("POST", name="same").status_code)
    assert sorted(answers) == [201, *[409] * 19]
    assert len(at_provider(library, Container.get())) == 1
