"""Each kind of probe: what works, what is slow, what fails, and what is not there."""

import time
from datetime import timedelta

import pytest
import redis
from pydantic import SecretStr

from models.jobs import presence
from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import database, release, transaction
from models.platform.redis import fast_redis_client
from models.status.services import Service
from tests.support.billing import stripe_account, stripe_part  # noqa: F401  (fixtures)
from tests.support.probes import Site
from workers.gateways import storage, timed_http
from workers.jobs import NOOP, enqueue
from workers.status.probes import probe
from workers.status.probes.finding import Failed, Finding, NotConfigured

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def site():
    found = Site()
    yield found
    found.stop()


def ask(kind, seconds=3.0, **spec):
    service = Service(key="it", name="It", description="It.", owner="Lab", group=None, probe={"kind": kind, **spec})
    return probe(service, seconds)


def test_http_wants_a_good_answer(site):
    assert ask("http", url=site.url + "health?deep=1") == Finding()
    assert site.asked == ["/health?deep=1"]


@pytest.mark.parametrize(("most", "is_slow"), [(0.05, True), (20, False), (None, False)])
def test_what_takes_long_is_slow(site, most, is_slow):
    site.seconds = 0.1
    assert ask("http", url=site.url, slow_seconds=most).is_slow is is_slow


@pytest.mark.parametrize("status", [301, 404, 500, 503])
def test_http_takes_nothing_else_and_follows_no_redirect(site, status):
    site.status, site.headers = status, {"Location": site.url + "elsewhere"}
    with pytest.raises(Failed, match=str(status)):
        ask("http", url=site.url)
    assert site.asked == ["/"]


def test_http_waits_for_so_long_and_no_longer_for_a_byte_a_second(site):
    site.seconds = 3
    with pytest.raises(Failed, match="did not answer within"):
        ask("http", 0.3, url=site.url)
    site.seconds, site.drip, site.body = 0, 0.2, b"x" * 100
    began = time.monotonic()
    with pytest.raises(Failed, match="did not answer within"):
        ask("http", 0.5, url=site.url)
    assert time.monotonic() - began < 10


def test_http_reads_no_endless_answer(site, monkeypatch):
    monkeypatch.setattr("workers.status.probes.outside.LARGEST_PAGE", 1000)
    site.body = b"x" * 5000
    with pytest.raises(Failed, match="too large"):
        ask("http", url=site.url)


def test_http_of_a_server_that_is_not_there(site):
    site.stop()
    with pytest.raises(Failed, match="did not answer properly"):
        ask("http", url=site.url)


def test_http_does_not_use_a_kept_connection_of_a_server_that_is_gone():
    site = Site()
    ask("http", url=site.url)
    port = site.server.server_port
    site.stop()
    again = Site(port)
    try:
        assert ask("http", url=again.url) == Finding()
    finally:
        again.stop()
    assert timed_http.IDLE_SECONDS < 60, "each minute's probe opens a connection of its own"


def test_postgres():
    assert ask("postgres") == Finding()


def test_postgres_that_takes_nothing(monkeypatch):
    database.execute_sql("set default_transaction_read_only = on")
    try:
        monkeypatch.setattr("workers.status.probes.parts.release", lambda: None)
        with pytest.raises(Failed, match="takes nothing"):
            ask("postgres")
    finally:
        database.execute_sql("set default_transaction_read_only = off")
        release()


def test_redis(configure):
    assert ask("redis") == Finding()
    configure(redis_url=SecretStr("redis://127.0.0.1:9/0"))
    with pytest.raises(redis.RedisError):
        ask("redis")


def test_redis_whose_memory_is_full():
    client = fast_redis_client()
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.RedisError):
            ask("redis")
    finally:
        client.config_set("maxmemory", before)


def test_a_queue_with_nothing_to_do():
    presence.report("host:1", "mail,housekeeping")
    assert ask("queue", queue="mail", max_age_seconds=60) == Finding()


def test_a_queue_that_nobody_serves():
    presence.report("host:1", "mail")
    with pytest.raises(Failed, match="No worker serves the queue agents"):
        ask("queue", queue="agents", max_age_seconds=60)


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        ({}, True),
        ({"state": "running"}, False),
        ({"queue": "mail"}, False),
        ({"sent_at": None}, False),  # it waits for its tenant's turn
        ({"due_at": now() + timedelta(hours=1)}, False),
    ],
)
def test_a_queue_whose_oldest_job_waits(change, fails):
    presence.report("host:1", "mail,housekeeping")
    with transaction():
        job = enqueue(NOOP)
    Job.update(**({"due_at": now() - timedelta(minutes=5)} | change)).where(Job.id == job.id).execute()
    if fails:
        with pytest.raises(Failed, match="has waited for 3"):
            ask("queue", queue="housekeeping", max_age_seconds=60)
    else:
        assert ask("queue", queue="housekeeping", max_age_seconds=60) == Finding()


def test_the_model_provider(provider):
    assert ask("model") == Finding()


def test_no_model_provider(configure):
    configure(openai_api_key=None, openai_base_url=None)
    with pytest.raises(NotConfigured):
        ask("model")


def test_a_model_provider_that_is_away(configure):
    configure(openai_api_key=SecretStr("sk-test"), openai_base_url="http://127.0.0.1:9/v1")
    with pytest.raises(Failed, match="openai: provider_unavailable"):
        ask("model")


@pytest.mark.parametrize(("status", "works"), [(404, True), (405, True), (401, False), (500, False)])
def test_a_server_without_a_list_of_models_is_there(configure, site, status, works):
    site.status, site.body = status, b"{}"
    configure(openai_api_key=SecretStr("sk-test"), openai_base_url=f"{site.url}v1")
    if works:
        assert ask("model") == Finding()
    else:
        with pytest.raises(Failed):
            ask("model")


def test_a_fall_back_is_slow(configure, models_file, provider):
    models_file(
        f"""
        [providers.down]
        base_url = "http://127.0.0.1:9/v1"
        [providers.up]
        base_url = "{provider}"
        [aliases]
        safe = ["down:any", "up:any"]
        """
    )
    configure(agent_model_default="safe")
    finding = ask("model")
    assert finding.is_slow and "down: provider_unavailable" in finding.reason


@pytest.mark.parametrize(
    ("status", "expected"),
    [("healthy", Finding()), ("degraded", Finding(is_slow=True, reason="The storage answers slowly."))],
)
def test_the_storage(monkeypatch, status, expected):
    monkeypatch.setattr(storage, "status", lambda: status)
    assert ask("storage") == expected


def test_no_storage_and_one_that_is_away(monkeypatch):
    monkeypatch.setattr(storage, "status", lambda: "unconfigured")
    with pytest.raises(NotConfigured):
        ask("storage")
    monkeypatch.setattr(storage, "status", lambda: "unavailable")
    with pytest.raises(Failed):
        ask("storage")


def test_stripe_is_only_asked_where_something_is_sold(configure):
    configure(enable_billing=False)
    with pytest.raises(NotConfigured):
        ask("stripe")


def test_stripe(stripe_account):  # noqa: F811
    assert ask("stripe") == Finding()


def test_stripe_that_does_not_know_our_key(billing, configure):
    configure(stripe_secret_key=None)
    with pytest.raises(Failed, match="provider_authentication"):
        ask("stripe")
