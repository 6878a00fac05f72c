"""Workflows: what there are, running one, and its runs."""

from typing import Any

import falcon

from edge import relay
from edge.endpoint import endpoint
from edge.request import Request
from edge.resources.workflow_answers import describe, detail, listed, parse_time, result, summary
from edge.run_answers import HEADERS, begin, idempotency_key, require_allowance, require_success, warn
from edge.schemas.workflows import (
    StreamingWorkflowEvent,
    WorkflowDescriptorResponse,
    WorkflowRunDetail,
    WorkflowRunListResponse,
    WorkflowRunRequestBody,
    WorkflowRunResponse,
    WorkflowRunsQuery,
    WorkflowSummary,
)
from models.billing import quotas
from models.billing.quotas import Guard
from models.conversations.asking import Question
from models.platform.authorization import CONVERSATION_ASK, RUN_CANCEL, RUN_READ, RUN_RETRY, WORKFLOW_READ
from models.platform.errors import BadRequest
from models.platform.settings import settings
from models.runs.run import WORKFLOW, Run
from models.workflows import runs
from workers import jobs
from workers.jobs import WORKFLOW_ADVANCE, enqueue
from workers.workflows.catalog import workflows

DONE: dict[str, Any] = {"success": True}


class InvalidStatus(BadRequest):
    code, message = "invalid_status", "Invalid status filter."


class Workflows:
    @endpoint("List Workflows", "workflows", action=WORKFLOW_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response) -> list[WorkflowSummary]:
        """The workflows that can be run."""
        return [summary(workflow) for workflow in workflows().by_key.values()]

    @endpoint("Get Workflow Descriptor", "workflows", action=WORKFLOW_READ, tenant=True)
    def on_get_one(self, req: Request, resp: falcon.Response, workflow_key: str) -> WorkflowDescriptorResponse:
        """A workflow with its stages and steps."""
        return describe(workflows().get(workflow_key))

    @endpoint("Run Workflow", "workflows", action=CONVERSATION_ASK, tenant=True, headers=HEADERS)
    def on_post_run(
        self, req: Request, resp: falcon.Response, workflow_key: str, body: WorkflowRunRequestBody
    ) -> WorkflowRunResponse:
        """Run a workflow, and wait for its output.

        409 `approval_required` if a call has to be approved first, 504 `run_still_running` if it takes too long: follow
        the run in both cases.
        """
        principal = req.context.principal
        require_allowance(principal)
        run = start(req, resp, workflow_key, body)
        if not run.is_finished:
            relay.wait(run, principal, settings.chat_wait_seconds)
            run = Run.get_by_id(run.id)
        require_success(run)
        return result(run)

    @endpoint(
        "Run Workflow Stream",
        "workflows",
        action=CONVERSATION_ASK,
        tenant=True,
        headers=HEADERS,
        streams=StreamingWorkflowEvent,
    )
    def on_post_stream(
        self, req: Request, resp: falcon.Response, workflow_key: str, body: WorkflowRunRequestBody
    ) -> None:
        """Run a workflow, and read the events of all its steps as server-sent events. The last one has its output."""
        principal = req.context.principal
        require_allowance(principal, streams=True)
        with relay.slot(principal) as slot:
            run = start(req, resp, workflow_key, body)
            relay.follow(resp, run, principal, slot=slot)


class WorkflowRuns:
    @endpoint("List Workflow Runs", "workflows", action=RUN_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, query: WorkflowRunsQuery) -> WorkflowRunListResponse:
        """The runs of workflows, the newest first: one's own, for admins all of the tenant's."""
        if query.run_status is not None and query.run_status not in runs.STATES:
            raise InvalidStatus()
        page = runs.page(
            req.context.principal,
            query.limit,
            query.cursor,
            workflow_key=query.workflow_key,
            state=query.run_status,
            conversation_key=query.conversation_id,
            started_before=parse_time(query.started_before),
            started_after=parse_time(query.started_after),
        )
        return WorkflowRunListResponse(items=[listed(row) for row in page.items], next_cursor=page.next_cursor)

    @endpoint("Get Workflow Run", "workflows", action=RUN_READ, tenant=True)
    def on_get_one(self, req: Request, resp: falcon.Response, run_id: str) -> WorkflowRunDetail:
        """A run with its steps and output."""
        return detail(runs.find(req.context.principal, run_id))

    @endpoint("Cancel Workflow Run", "workflows", action=RUN_CANCEL, status=202, tenant=True, schema={})
    def on_post_cancel(self, req: Request, resp: falcon.Response, run_id: str) -> dict[str, Any]:
        """Stop a run and all its branches. 409 if it has ended."""
        runs.cancel(req.context.principal, run_id)
        return DONE

    @endpoint("Retry Workflow Run", "workflows", action=RUN_RETRY, status=202, tenant=True, schema={})
    def on_post_retry(self, req: Request, resp: falcon.Response, run_id: str) -> dict[str, Any]:
        """Go on with a failed or cancelled run: steps that have succeeded are not done again. 409 if it is neither."""
        principal = req.context.principal
        require_allowance(principal)
        found = runs.find(principal, run_id)
        guard = Guard(found.tenant_id, found.id, quotas.RUN)

        def change() -> None:
            guard.reserve()
            run, stopped = runs.reopen(principal, run_id)
            if stopped:
                jobs.requeue(stopped)
            else:
                enqueue(WORKFLOW_ADVANCE, run_id=run.id, tenant_id=run.tenant_id)

        guard.begin(change)
        warn(resp, guard)
        resp.set_header("X-Run-Id", str(found.id))
        return DONE


def start(req: Request, resp: falcon.Response, key: str, body: WorkflowRunRequestBody) -> Run:
    """The run of this question. A repeated Idempotency-Key gives the run that the first request started."""
    workflow = workflows().get(key)
    question = Question(
        body.message,
        workflow.key,
        conversation_id=body.conversation_id,
        options=body.options(),
        idempotency_key=idempotency_key(req),
        kind=WORKFLOW,
        attachments=tuple(body.attachments),
    )
    return begin(req, resp, question, WORKFLOW_ADVANCE)
