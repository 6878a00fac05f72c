"""Real Postgres and Valkey for every test process; tables and streams are emptied between tests."""

import contextlib
import email
import email.policy
import os
import tempfile
from pathlib import Path

import pytest

from tests.support.accounts import add_user

STACK = pytest.StashKey()


def pytest_configure(config):
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return  # the controller of pytest-xdist runs no tests
    from devstack.stack import Stack

    state = Path(tempfile.mkdtemp(prefix="longshore-test-"))
    stack = config.stash[STACK] = Stack(state, environ={**os.environ, "ENVIRONMENT": "test"})
    stack.start_parts(only=("postgres", "valkey"))
    os.environ.update(stack.env)
    os.environ.pop("STATUS_PAGE_URL", None)  # the default, below APP_PUBLIC_URL: no edge listens here
    os.environ |= {
        "ENVIRONMENT": "test",
        "CHAT_WAIT_SECONDS": "5",
        "BILLING_WAIT_SECONDS": "0.2",
        "SERVICE_ISSUE_DEV_LOCAL": "true",
    }
    stack.migrate()


def pytest_unconfigure(config):
    if stack := config.stash.get(STACK, None):
        import shutil

        stack.stop()
        shutil.rmtree(stack.state, ignore_errors=True)


@pytest.fixture
def stack(pytestconfig):
    return pytestconfig.stash[STACK]


# Tables with what every installation has; all others are emptied.
KEPT = ("schema_migration", "plan", "plan_limit")
# Deleting a few rows is quicker than truncating sixty tables. As a replica, which fires no triggers and checks no references.
EMPTY = """
do $$
declare name text;
begin
    set local session_replication_role = replica;
    for name in select tablename from pg_tables where schemaname = 'public' and tablename <> all (array{kept}) loop
        execute 'delete from ' || quote_ident(name);
    end loop;
end $$"""


def _empty():
    from models.platform.database import database

    database.execute_sql(EMPTY.format(kept=list(KEPT)))


@pytest.fixture
def clean():
    """Empty tables, Redis databases and what is remembered of them; the connection goes back to the pool afterwards."""
    from models.platform.database import release
    from models.platform.redis import redis_client
    from models.status import snapshot
    from workers.broker import broker

    _empty()
    redis_client().flushdb()
    snapshot.forget()
    broker.client.flushdb()
    yield
    release()


@pytest.fixture
def configure():
    """configure(name=value, ...): other settings until the end of the test."""
    from models.platform.settings import settings

    with contextlib.ExitStack() as overrides:
        yield lambda **values: overrides.enter_context(settings.override(**values))


@pytest.fixture
def billing(configure):
    """Billing is on in this process until the end of the test; without a Stripe."""
    from tests.support.stripe import BILLING

    configure(**BILLING)


@pytest.fixture
def prices(clean):
    """Stripe's prices of the plans, as tests.support.stripe_objects has them, until the end of the test."""
    from models.platform.database import database
    from tests.support.stripe_objects import PRICES

    for price, (plan, feature) in PRICES.items():
        row = (plan, feature, f"prod_{plan}", price)
        database.execute_sql("insert into stripe_price values (%s, %s, %s, %s)", row)
    yield
    database.execute_sql("delete from stripe_price")


@pytest.fixture
def packaged_plans(clean):
    """The packaged plan file; the database is in line with it, also after the test."""
    from models.billing import plans
    from models.billing.plan_file import PACKAGED, read
    from models.billing.plan_tables import bring_in_line
    from models.platform.database import database, transaction
    from models.platform.principal import Root

    def restore():
        with transaction():
            database.execute_sql("delete from plan where code not in ('starter', 'pro')")
            bring_in_line(read(PACKAGED), by=Root("test"))
        plans._on_sale.cache_clear()

    restore()
    yield read(PACKAGED)
    database.execute_sql("truncate tenant cascade")  # whose plans may be ones that go now
    restore()


@pytest.fixture
def limited(tenant, configure):
    """limited(feature, soft=, hard=) sets a limit of the tenant's own plan, `small`; guardrails are on."""
    from tests.support.plans import small_plan

    configure(enable_usage_guardrails=True)
    with small_plan(tenant) as limit:
        yield limit


@pytest.fixture
def subscribed(tenant, limited, billing):
    """subscribed(status, **columns) sets the tenant's subscription of the plan `small`; billing is on."""
    from tests.support.plans import subscribe

    return lambda *status, **columns: subscribe(tenant, *status, **columns)


@pytest.fixture
def jobs_named(clean):
    """jobs_named("mail.reset") -> the job rows of that name, the oldest first."""
    from models.jobs.ledger import Job

    return lambda name: list(Job.select().where(Job.name == name).order_by(Job.id))


class Mailbox:
    """An SMTP server that remembers (recipients, message) of all it was sent, and answers as told to."""

    def __init__(self, port: int):
        self.port, self.mails, self.answers, self.connections = port, [], [], 0
        self.refused = {}  # address: the answer to it as a recipient
        self.start()

    def start(self):
        from aiosmtpd.controller import Controller

        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    def stop(self):
        self.controller.stop(no_assert=True)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.rcpt_tos, message))
        return self.answers.pop(0) if self.answers else "250 kept"


@pytest.fixture
def mailbox(configure):
    """The mail server of this process; `mailbox.stop()` takes it away."""
    from devstack.process import free_port

    found = Mailbox(free_port())
    configure(smtp_url=f"smtp://127.0.0.1:{found.port}")
    yield found
    found.stop()


@pytest.fixture
def spans():
    """Traces are on until the end of the test; the spans of this process."""
    from models.platform import tracing
    from tests.support.traces import Recorded

    recorded = Recorded()
    tracing.record_with(recorded.recorder)
    yield recorded
    tracing.record_with(None)


@pytest.fixture(scope="session")
def storage_part(tmp_path_factory):
    """An S3 server of this test process."""
    from devstack.parts.storage import Storage

    part = Storage(tmp_path_factory.mktemp("storage"))
    part.start()
    yield part
    part.kill()


@pytest.fixture
def s3(storage_part, configure):
    """The object storage is the real one until the end of the test: the `minio` client of an administrator."""
    from tests.support.storage import connect

    yield from connect(storage_part, configure)


@pytest.fixture
def tenant(clean):
    from models.auth.tenants import Tenant

    return Tenant.create(slug="acme", name="Acme")


@pytest.fixture
def person(tenant):
    """person(role="member", tenant=...) -> the Principal of a fresh user."""
    from models.platform.principal import Principal, scopes_for

    def make(role="member", tenant=tenant, email=None):
        email = email or f"{role}-{os.urandom(4).hex()}@example.com"
        user = add_user(email, "correct horse battery", tenant=tenant, role=role, verified=True)
        return Principal(user.id, tenant.id, role, frozenset(scopes_for(role)), None, True)

    return make


@pytest.fixture
def ask(clean):
    """ask(principal, message, ...) -> the committed run of one question."""
    from models.conversations import asking
    from models.platform.database import transaction
    from workers.jobs import CHAT_RUN, enqueue

    def make(principal, message="Hello", conversation_id=None, agent="triage", idempotency_key=None, **options):
        with transaction():
            question = asking.Question(message, agent, conversation_id, options, idempotency_key)
            run, created = asking.ask(principal, question)
            if created:
                enqueue(CHAT_RUN, run_id=run.id, tenant_id=run.tenant_id)
        return run

    return make
