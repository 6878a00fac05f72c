"""Real Postgres and Valkey for every test process; tables and streams are emptied between tests."""

import os
import tempfile
from pathlib import Path

import pytest

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
    """Empty tables and Redis databases; the connection goes back to the pool afterwards."""
    from models import progress
    from models.base import database, release
    from workers.broker import broker

    database.execute_sql("truncate tenant, users, job, audit_event, signup_request, signup_invite cascade")
    progress.client().flushdb()
    broker.client.flushdb()
    yield
    release()


@pytest.fixture
def tenant(clean):
    from models.accounts import Tenant

    return Tenant.create(slug="acme", name="Acme")


@pytest.fixture
def person(tenant):
    """person(role="member", tenant=...) -> the Principal of a fresh user."""
    from models.accounts import User
    from models.principal import Principal, scopes_for

    def make(role="member", tenant=tenant, email=None):
        email = email or f"{role}-{os.urandom(4).hex()}@example.com"
        user = User.register(email, "correct horse battery", tenant=tenant, role=role, verified=True)
        return Principal(user.id, tenant.id, role, frozenset(scopes_for(role)), None, True)

    return make


@pytest.fixture
def ask(clean):
    """ask(principal, message, ...) -> the committed run of one question."""
    from models.base import transaction
    from models.conversations import Conversation
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
