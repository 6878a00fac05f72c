"""The WSGI application itself, on real Postgres and Valkey; streams and processes are tested in tests/flows."""

from uuid import UUID

import falcon.testing
import pytest

from tests.support.accounts import CHEAP_HASHER, NEW, PASSWORD, add_user, log_in
from tests.support.hub import Reader, stop


@pytest.fixture(scope="session")
def app():
    from edge.app import create_app
    from tests.support.routes import EVERYTHING

    return create_app(EVERYTHING, hasher=CHEAP_HASHER)


@pytest.fixture
def process_hub(clean):
    """The hub of the application, cooperative during the test and stopped afterwards: it must not block later tests."""
    from edge.hub import hub
    from models.platform.settings import settings

    connect, hub.connect = hub.connect, lambda: Reader(settings.redis_url.get_secret_value())
    yield hub
    stop(hub)
    hub.connect = connect


@pytest.fixture
def reader(clean):
    from models.platform.settings import settings

    return Reader(settings.redis_url.get_secret_value())


@pytest.fixture
def make_hub(reader):
    """make_hub(tick_seconds=..., ...) -> a Hub on the test's reader, stopped at the end."""
    from edge.hub import Hub

    hubs = []

    def make(**options):
        hubs.append(Hub(lambda: reader, **options))
        return hubs[-1]

    yield make
    for hub in hubs:
        stop(hub)


@pytest.fixture
def hub(make_hub):
    return make_hub()


@pytest.fixture
def http(app, process_hub):
    return falcon.testing.TestClient(app, headers={"Host": "localhost"})


@pytest.fixture
def http_with(clean):
    """http_with(hasher) -> a client of an application of its own that hashes passwords with it."""
    from edge.app import create_app

    return lambda hasher: falcon.testing.TestClient(create_app(hasher=hasher), headers={"Host": "localhost"})


@pytest.fixture
def signed(tenant):
    """signed(role="member", verified=True, tenant=..., operator=False) -> (headers, user) of a new user with a session."""
    import os

    from models.auth import operators
    from models.platform.principal import OPERATOR, Root

    def make(role="member", verified=True, tenant=tenant, operator=False):
        email = f"{role}-{os.urandom(4).hex()}@example.com"
        user = add_user(email, "correct horse battery", tenant=tenant, role=role, verified=verified)
        if operator:
            operators.grant(email, list(OPERATOR), by=Root("test"))
        tokens = log_in(email)
        return {"Authorization": f"Bearer {tokens.access_token}", "Host": "localhost"}, user

    return make


@pytest.fixture
def ask_as(ask, tenant):
    """ask_as(user, message, conversation_id, role="member") -> the run of a question that this user asks."""
    from models.platform.principal import Principal, scopes_for

    def make(user, *question, role="member"):
        return ask(Principal(user.id, tenant.id, role, frozenset(scopes_for(role)), None, True), *question)

    return make


SECRET_FIELDS = ("password", "current_password", "new_password", "token", "refresh_token")


@pytest.fixture
def post(http):
    """post("password/forgot", headers, email=...) -> the answer; checks that it is not cached and echoes no secret."""

    def send(path, headers=None, **body):
        answer = http.simulate_post(f"/api/v1/auth/{path}", json=body, headers=headers)
        assert answer.headers["Cache-Control"] == "no-store"
        secrets = [body[name] for name in SECRET_FIELDS if len(body.get(name, "")) >= 8]
        assert not [secret for secret in secrets if secret in answer.text]
        return answer

    return send


@pytest.fixture
def user(tenant):
    return add_user("jo@example.com", PASSWORD, tenant=tenant, verified=True)


@pytest.fixture
def sign_in(post, user):
    return lambda password=PASSWORD, **more: post("token", **{"email": user.email, "password": password, **more})


@pytest.fixture
def confirm(post):
    return lambda token, new=NEW: post("password/confirm", token=token, new_password=new)


@pytest.fixture
def change(post):
    return lambda headers, new=NEW, current=PASSWORD: post(
        "password/change", headers, current_password=current, new_password=new
    )


@pytest.fixture
def reset(post):
    return lambda headers, user_id, new=NEW: post("password/reset", headers, user_id=str(user_id), new_password=new)


@pytest.fixture
def alive(http):
    """alive(headers): whether the access token is still accepted."""
    return lambda headers: http.simulate_get("/api/v1/auth/me", headers=headers).status_code == 200


@pytest.fixture
def notices(jobs_named):
    return lambda: [(job.args["notice"], UUID(job.args["user_id"])) for job in jobs_named("mail.notice")]


@pytest.fixture
def caller_below(http, signed):
    """caller_below(prefix) -> caller(role) -> call(method, path, **body) of a new user, on paths below the prefix."""

    def below(prefix):
        def make(role="admin", **more):
            headers = signed(role, **more)[0]

            def call(method, path="", **body):
                url, _, params = f"{prefix}{path}".partition("?")
                return http.simulate_request(method, url, query_string=params, headers=headers, json=body or None)

            return call

        return make

    return below
