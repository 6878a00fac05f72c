"""The fixtures of the edge: these tests attack it over HTTP."""

from tests.edge.conftest import *  # noqa: F403
