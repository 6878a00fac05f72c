"""Real Postgres and Valkey for every test process, emptied before each test that uses them."""

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
    os.environ |= {"ENVIRONMENT": "test", "CHAT_WAIT_SECONDS": "5"}
    stack.migrate()


def pytest_unconfigure(config):
    if stack := config.stash.get(STACK, None):
        import shutil

        stack.stop()
        shutil.rmtree(stack.state, ignore_errors=True)


@pytest.fixture
def stack(pytestconfig):
    return pytestconfig.stash[STACK]


@pytest.fixture
def clean():
    """Empty tables and Redis databases. The test's connection goes back to the pool at the end."""
    from models.platform.database import database, release
    from models.platform.redis import redis_client
    from workers.broker import broker

    database.execute_sql("truncate tenant, users, job, audit_event, signup_request, signup_invite cascade")
    redis_client().flushdb()
    broker.client.flushdb()
    yield
    release()


@pytest.fixture
def configure():
    """configure(name=value, ...): change settings until the end of the test."""
    from models.platform.settings import settings

    with contextlib.ExitStack() as overrides:
        yield lambda **values: overrides.enter_context(settings.override(**values))


@pytest.fixture
def cheap_hashing(monkeypatch):
    """Make password hashing cheap, for tests that hash a lot and do not measure it."""
    from argon2 import PasswordHasher

    from models.auth import passwords

    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", lambda: hasher)
    passwords.dummy_hash.cache_clear()
    yield
    passwords.dummy_hash.cache_clear()


@pytest.fixture
def jobs_named(clean):
    """jobs_named("mail.reset") -> the job rows of that name, oldest first."""
    from models.jobs.ledger import Job

    return lambda name: list(Job.select().where(Job.name == name).order_by(Job.id))


class Mailbox:
    """An SMTP server. `mails` holds (recipients, message) of every mail, `answers` the replies to give instead of 250."""

    def __init__(self, port: int):
        self.port, self.mails, self.answers = port, [], []
        self.start()

    def start(self):
        from aiosmtpd.controller import Controller

        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    def stop(self):
        self.controller.stop(no_assert=True)

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.rcpt_tos, message))
        return self.answers.pop(0) if self.answers else "250 kept"


@pytest.fixture
def mailbox(configure):
    """An SMTP server that the settings point to; `mailbox.stop()` takes it down."""
    from devstack.process import free_port

    mailbox = Mailbox(free_port())
    configure(smtp_url=f"smtp://127.0.0.1:{mailbox.port}")
    yield mailbox
    mailbox.stop()


@pytest.fixture
def tenant(clean):
    from models.auth.tenants import Tenant

    return Tenant.create(slug="acme", name="Acme")


@pytest.fixture
def person(tenant):
    """person(role="member", tenant=...) -> the Principal of a new user."""
    from models.platform.principal import Principal, scopes_for

    def make(role="member", tenant=tenant, email=None):
        email = email or f"{role}-{os.urandom(4).hex()}@example.com"
        user = add_user(email, "correct horse battery", tenant=tenant, role=role, verified=True)
        return Principal(user.id, tenant.id, role, frozenset(scopes_for(role)), None, True)

    return make


@pytest.fixture
def ask(clean):
    """ask(principal, message, ...) -> the run of a question, committed and enqueued."""
    from models.conversations.conversation import Conversation
    from models.platform.database import transaction
    from workers.jobs import CHAT_RUN, enqueue

    def make(principal, message="Hello", conversation_id=None, agent="triage", idempotency_key=None, **options):
        with transaction():
            run, created = Conversation.ask(
                principal,
                message=message,
                conversation_id=conversation_id,
                agent=agent,
                options=options,
                idempotency_key=idempotency_key,
            )
            if created:
                enqueue(CHAT_RUN, run_id=run.id, tenant_id=run.tenant_id)
        return run

    return make
