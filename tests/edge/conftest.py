"""The WSGI application itself, on real Postgres and Valkey; streams and processes are tested in tests/live."""

import falcon.testing
import pytest


@pytest.fixture(scope="session")
def app():
    from edge.app import create_app

    return create_app()


@pytest.fixture
def http(app, clean):
    return falcon.testing.TestClient(app, headers={"Host": "localhost"})


@pytest.fixture
def signed(tenant):
    """signed(role="member", verified=True, tenant=..., operator=False) -> (headers, user) of a freshly signed-in user."""
    import os

    from models import operators
    from models.accounts import User
    from models.principal import OPERATOR
    from models.signin import SignIn

    def make(role="member", verified=True, tenant=tenant, operator=False):
        email = f"{role}-{os.urandom(4).hex()}@example.com"
        user = User.register(email, "correct horse battery", tenant=tenant, role=role, verified=verified)
        if operator:
            operators.grant(email, list(OPERATOR), by="test")
        tokens = SignIn.with_password(email, "correct horse battery")
        return {"Authorization": f"Bearer {tokens.access_token}", "Host": "localhost"}, user

    return make
