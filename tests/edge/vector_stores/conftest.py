"""Callers of the vector stores, and the provider."""

import pytest

from tests.support.provider import at_provider, library, library_url  # noqa: F401  (fixtures)


@pytest.fixture
def caller(http, signed):
    """caller(role) -> call(method, path, **body) of a new user, below /api/v1/vector-stores."""

    def make(role="admin", **more):
        headers = signed(role, **more)[0]

        def call(method, path="", **body):
            url, _, params = f"/api/v1/vector-stores{path}".partition("?")
            return http.simulate_request(method, url, query_string=params, headers=headers, json=body or None)

        return call

    return make


@pytest.fixture
def admin(caller):
    return caller()
