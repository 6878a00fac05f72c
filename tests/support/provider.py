"""The provider's files, vector stores and containers in tests: the stand-in, and the jobs that talk to it."""

import contextlib
import threading
import time

import httpx
import pytest
from pydantic import SecretStr

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
    from models.jobs.ledger import QUEUED, Job
    from models.platform.clock import now
    from models.platform.database import release
    from workers.jobs import KINDS
    from workers.runtime import execute

    known = actors()
    waiting = Job.name.in_(names or list(known)) & (Job.state == QUEUED)
    Job.update(due_at=now()).where(waiting & (Job.due_at > now())).execute()
    jobs = list(Job.select().where(waiting).order_by(Job.id))
    release()
    for job in jobs:
        execute(KINDS[job.name], known[job.name], str(job.id))
    return len(jobs)


def run_job(name, **args):
    """Enqueue a job, and do it."""
    from models.platform.database import transaction
    from workers.jobs import KINDS, enqueue

    with transaction():
        enqueue(KINDS[name], **args)
    return work(name)


@contextlib.contextmanager
def worker(threads=1):
    """Threads that do these jobs until the block ends."""
    stop = threading.Event()

    def loop():
        while not stop.is_set():
            if not work():
                time.sleep(0.01)

    running = [threading.Thread(target=loop) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in running:
            thread.join()
