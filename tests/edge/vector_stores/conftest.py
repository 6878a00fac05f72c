"""Callers of the vector stores, and the provider."""

import pytest

from tests.support.provider import at_provider, library, library_url  # noqa: F401  (fixtures)


@pytest.fixture
def caller(caller_below):
    """caller(role) -> call(method, path, **body) of a new user, below /api/v1/vector-stores."""
    return caller_below("/api/v1/vector-stores")


@pytest.fixture
def admin(caller):
    return caller()
