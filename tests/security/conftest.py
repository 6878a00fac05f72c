"""The fixtures of the edge: these tests attack it over HTTP."""

import pytest

from tests.edge.conftest import *  # noqa: F403
from tests.edge.runs.conftest import *  # noqa: F403

TOKENS = "/api/v1/auth/service-accounts/tokens"  # for admins


@pytest.fixture
def owner(signed):
    """So that the tenant keeps one."""
    return signed("owner")[1]


@pytest.fixture
def status(http):
    return lambda headers, path=TOKENS: http.simulate_get(path, headers=headers).status_code
