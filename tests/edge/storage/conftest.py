"""Stored objects over HTTP, on a real S3 server, with a worker that does the jobs."""

import pytest

from tests.support.jobs import working
from tests.support.storage import Store, work


@pytest.fixture
def store(http, signed):
    """store(role, tenant=...) -> the endpoints, as a new user of this role sees them."""
    return lambda role="member", **more: Store(http, signed(role, **more)[0])


@pytest.fixture
def worker(s3, configure):
    configure(storage_wait_seconds=20, storage_uploads_per_minute=0)
    with working(work, 2):
        yield s3
