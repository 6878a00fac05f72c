"""Workflows that are made for a test, and a worker that does one job after the other in the test's own process."""

import json

import pytest


@pytest.fixture
def declare(monkeypatch):
    """declare(workflow, ...): this process has these workflows."""
    from workers.agents.catalog import catalog
    from workers.workflows import catalog as module

    def make(*workflows):
        found = module.Workflows({workflow.key: workflow for workflow in workflows}, catalog())
        monkeypatch.setattr(module, "_read", lambda agents, roots: found)
        module._built.clear()
        return found

    yield make
    module._built.clear()


@pytest.fixture
def run_workflow(clean):
    """run_workflow(principal, key, message) -> the committed run, which no worker has begun."""
    from models.conversations import asking
    from models.platform.database import transaction
    from models.runs.run import WORKFLOW
    from workers.jobs import WORKFLOW_ADVANCE, enqueue

    def start(principal, key, message="Hello", conversation_id=None):
        with transaction():
            run, _ = asking.ask(principal, asking.Question(message, key, conversation_id, kind=WORKFLOW))
            enqueue(WORKFLOW_ADVANCE, run_id=run.id, tenant_id=run.tenant_id)
        return run

    return start


@pytest.fixture
def do_jobs(clean, provider):
    """do_jobs(most=...) -> how many queued jobs were done, the oldest first, until none is left or `most` were done."""
    from models.jobs.ledger import Job
    from workers import main

    def work(most=1000):
        for done in range(most):
            job = Job.select().where(Job.state == "queued").order_by(Job.id).get_or_none()
            if job is None:
                return done
            main.broker.get_actor(job.name).fn(str(job.id))
        return most

    return work


@pytest.fixture
def events_of():
    """events_of(run) -> the events on its stream, each with its `sequence_number`."""
    from models.runs import progress

    return lambda run: [json.loads(entry.data) for entry in progress.read(run.id, count=10_000)]
