import pytest


@pytest.fixture
def site(http):
    """A client of an application whose status nobody holds in memory yet."""
    from models.status import snapshot

    snapshot.forget()
    yield http
    snapshot.forget()
