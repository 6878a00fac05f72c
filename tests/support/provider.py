"""The provider's files, vector stores and containers in tests: the stand-in, and the jobs that talk to it."""

import httpx
import pytest
from pydantic import SecretStr

from tests.support.jobs import do, working
from tests.support.models import standin


class Library:
    """What the provider has, as a test sees it. `url`: with /v1."""

    def __init__(self, url):
        self.url, self.http = url, httpx.Client(base_url=url.removesuffix("/v1"), timeout=30)

    def tell(self, **wish):
        answer = self.http.post("/_standin/library", json=wish)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, operation, kind="status", **more):
        """The next call of an operation, such as "POST /v1/vector_stores", goes wrong."""
        body = {"operation": operation, "kind": kind, **more}
        assert self.http.post("/_standin/faults", json=body).status_code == 200

    def all(self, path="vector_stores"):
        listed = self.http.get(f"/v1/{path}?limit=100", headers={"Authorization": "Bearer x"}).json()
        assert not listed["has_more"]
        return listed["data"]

    def call(self, method, path, **body):
        return self.http.request(method, f"/v1/{path}", headers={"Authorization": "Bearer x"}, json=body or None).json()


@pytest.fixture(scope="session")
def library_url(tmp_path_factory):
    with standin(tmp_path_factory.mktemp("library")) as url:
        yield url


@pytest.fixture
def library(library_url, clean, configure):
    """The provider is the stand-in, which has nothing yet; it also embeds."""
    found = Library(library_url)
    found.tell(forget=True, shift=0, indexing=0.02)
    found.http.delete("/_standin/faults")
    configure(openai_base_url=library_url, openai_api_key=SecretStr("sk-test"), embedding_base_url=library_url)
    configure(app_public_url="https://agents.example.com")  # of its own: what it makes bears the address
    yield found
    found.http.close()


@pytest.fixture
def at_provider(library, configure):
    """New stores are at the provider."""
    configure(vector_engine="openai")
    return library


def actors():
    from workers.containers import actors as containers
    from workers.vector_stores import files, reconciliation, stores, sync

    return {
        "container.create": containers.create_container,
        "container.create_fail": containers.fail_container,
        "container.refresh": containers.refresh_container,
        "container.remove": containers.remove_container,
        "container.sync": containers.sync_containers,
        "vector_store.create": stores.create_store,
        "vector_store.create_fail": stores.fail_store,
        "vector_store.remove": stores.remove_store,
        "vector_store.expire": stores.expire_stores,
        "vector_store.sync": sync.sync_stores,
        "vector_store.reconcile": reconciliation.reconcile,
        "file.attach": files.attach_file,
        "file.attach_fail": files.fail_attaching,
        "file.detach": files.detach_file,
    }


def work(*names):
    """Do the waiting jobs of stores and containers here and now, once each, also those that are to be tried again later -> how many.

    `names`: only these.
    """
    return do({name: actor for name, actor in actors().items() if not names or name in names})


def run_job(name, **args):
    """Enqueue a job, and do it."""
    from models.platform.database import transaction
    from workers.jobs import KINDS, enqueue

    with transaction():
        enqueue(KINDS[name], **args)
    return work(name)


def worker(threads=1):
    """Threads that do these jobs until the block ends."""
    return working(work, threads)
