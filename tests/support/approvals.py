"""Runs that wait for a person, without a model: what a worker does when a call needs an approval."""

from models.jobs.ledger import Job
from models.platform.database import transaction
from models.runs import waiting
from models.runs.approvals import Approval, ApprovalRequest
from models.runs.run import Run

DIGEST = "0" * 64  # of no approval


def job_of(run):
    return Job.get(Job.run_id == run.id)


def claim(run, owner="worker"):
    return Job.claim(job_of(run).id, owner, 30)


QUERY = {
    "type": "object",
    "properties": {"query": {"type": "string"}},
    "required": ["query"],
    "additionalProperties": False,
}


def request(number=2, tool="search_conversations", parameters=QUERY, **arguments):
    arguments = arguments or {"query": "secret"}
    return ApprovalRequest(number, f"call_{number}", tool, arguments, parameters=parameters)


def wait(run, *requests, sequence=7):
    """The run, waiting for these requests (or one), and its approvals."""
    job = claim(run)
    run = Run.get_by_id(run.id)
    with transaction():
        assert waiting.begin(job, run, list(requests) or [request()], sequence)
    return Run.get_by_id(run.id), Approval.of_run(run.id)


def decide(principal, approval, state="approved", note=None, edited=None):
    """The job that goes on, if this was the decision that was missing."""
    with transaction():
        return waiting.decide(principal, approval, waiting.Answer(state, note, edited))[1]
