"""Workflows over HTTP: what there is, what is refused before a run starts, and who sees which runs."""

import pytest

from edge.schemas import workflows as schemas
from models.auth.tenants import Tenant
from models.jobs.ledger import Job
from models.platform import limits
from models.platform.database import transaction
from models.runs.run import Run

ROOT = "/api/v1/workflows"


@pytest.fixture
def start(http, signed, configure):
    """start(headers, key, **body) -> the id of a run that waits for a worker."""
    configure(chat_wait_seconds=0.01)

    def make(headers, key="analysis_code", **body):
        answer = http.simulate_post(f"{ROOT}/{key}/run", headers=headers, json={"message": "Hi", **body})
        assert (answer.status_code, answer.json["error"]) == (504, "run_still_running")
        return answer.headers["X-Run-Id"]

    return make


def test_the_list_is_sorted_and_says_what_each_workflow_is(http, signed):
    headers, _ = signed("viewer")
    answer = http.simulate_get(ROOT, headers=headers)
    found = [schemas.WorkflowSummary.model_validate(item, extra="forbid") for item in answer.json]
    assert [(item.key, item.step_count, item.default) for item in found] == [
        ("analysis_code", 2, True),
        ("analysis_parallel", 3, False),
        ("retrieval", 2, False),
    ]


def test_a_descriptor_has_short_names_and_no_type_of_what_is_not_there(http, signed):
    headers, _ = signed("viewer")
    answer = http.simulate_get(f"{ROOT}/analysis_parallel", headers=headers)
    found = schemas.WorkflowDescriptorResponse.model_validate(answer.json, extra="forbid")
    fanout, synthesis = found.stages
    assert (fanout.mode, fanout.reducer, [step.agent_key for step in fanout.steps]) == (
        "parallel",
        "join_outputs",
        ["data_analyst", "code_assistant"],
    )
    [step] = synthesis.steps
    assert (step.input_mapper, step.input_mapper_type, step.guard, step.guard_type) == (
        "pass_through",
        "function",
        None,
        None,
    )
    flat = http.simulate_get(f"{ROOT}/analysis_code", headers=headers).json
    assert [(stage["name"], stage["mode"]) for stage in flat["stages"]] == [("stage-1", "sequential")]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/run"), ("POST", "/run-stream")])
def test_an_unknown_workflow_is_a_404_before_anything_starts(http, signed, method, path):
    headers, _ = signed()
    body = {"message": "Hi"} if method == "POST" else None
    answer = http.simulate_request(method, f"{ROOT}/nothing{path}", headers=headers, json=body)
    assert (answer.status_code, answer.json["message"]) == (404, "Workflow 'nothing' not found")
    assert Run.select().count() == Job.select().count() == 0


@pytest.mark.parametrize("path", ["run", "run-stream"])
@pytest.mark.parametrize(
    "body", [{}, {"message": " "}, {"message": "x" * 100_001}, {"message": "x", "conversation_id": ""}, {"message": 3}]
)
def test_an_invalid_question_is_a_422_and_starts_no_run(http, signed, path, body):
    headers, _ = signed()
    assert http.simulate_post(f"{ROOT}/analysis_code/{path}", headers=headers, json=body).status_code == 422
    assert Run.select().count() == 0


@pytest.mark.parametrize("path", ["run", "run-stream"])
def test_a_viewer_may_not_run_a_workflow(http, signed, path):
    headers, _ = signed("viewer")
    assert http.simulate_post(f"{ROOT}/analysis_code/{path}", headers=headers, json={"message": "x"}).status_code == 403


@pytest.mark.parametrize(("path", "quota"), [("run", "chat_per_minute"), ("run-stream", "chat_stream_per_minute")])
def test_a_workflow_counts_against_the_same_limit_as_a_chat(http, signed, tenant, configure, path, quota):
    configure(chat_rate_limit_per_minute=1, chat_stream_rate_limit_per_minute=1)
    headers, user = signed()
    limits.hit(quota, 1, 60, tenant.id, f"user:{user.id}")
    answer = http.simulate_post(f"{ROOT}/analysis_code/{path}", headers=headers, json={"message": "x"})
    assert (answer.status_code, answer.json["details"]["quota"]) == (429, quota)
    assert Run.select().count() == 0


def test_a_stream_over_the_limit_of_open_streams_is_refused(http, signed, tenant, configure):
    configure(chat_stream_concurrent_limit=1)
    headers, user = signed()
    limits.Slot.take("chat_stream_concurrency", 1, tenant.id, f"user:{user.id}")
    answer = http.simulate_post(f"{ROOT}/analysis_code/run-stream", headers=headers, json={"message": "x"})
    assert answer.status_code == 429 and Run.select().count() == 0


def test_a_repeated_idempotency_key_gives_the_same_run_and_another_request_is_refused(http, signed, start):
    headers, _ = signed()
    headers["Idempotency-Key"] = "k1"
    assert start(headers) == start(headers)
    answer = http.simulate_post(f"{ROOT}/analysis_parallel/run", headers=headers, json={"message": "Hi"})
    assert (answer.status_code, answer.json["error"]) == (409, "idempotency_conflict")
    chat = http.simulate_post("/api/v1/chat", headers=headers, json={"message": "Hi", "agent_type": "triage"})
    assert chat.status_code == 409 and Run.select().count() == 1


def test_a_conversation_answers_one_question_at_a_time(http, signed, start):
    headers, _ = signed()
    run_id = start(headers, conversation_id="c1")
    answer = http.simulate_post(
        f"{ROOT}/analysis_code/run", headers=headers, json={"message": "x", "conversation_id": "c1"}
    )
    assert (answer.status_code, answer.json["error"]) == (409, "conversation_busy")
    assert answer.json["details"]["run_id"] == run_id


def test_a_location_is_kept_only_if_it_is_shared(http, signed, start):
    headers, _ = signed()
    place = {"city": " Oslo ", "region": ""}
    shown, hidden = start(headers, location=place, share_location=True), start(headers, location=place)
    assert Run.get_by_id(shown).request["location"] == {"city": "Oslo"}
    assert "location" not in Run.get_by_id(hidden).request


def test_own_runs_are_listed_and_all_of_the_tenant_for_its_admins(http, signed, start):
    mine, _ = signed()
    run_id = start(mine, conversation_id="c1")
    colleague, _ = signed()
    stranger, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"))
    admin, _ = signed("admin")
    for headers, expected in ((mine, [run_id]), (admin, [run_id]), (colleague, []), (stranger, [])):
        answer = http.simulate_get(f"{ROOT}/runs", headers=headers)
        found = schemas.WorkflowRunListResponse.model_validate(answer.json, extra="forbid")
        assert [item.workflow_run_id for item in found.items] == expected
    unknown = "01a20ac7-784f-712d-8112-15c292557957"
    for headers in (colleague, stranger):
        for verb in ("", "/cancel", "/retry"):
            method = "POST" if verb else "GET"
            foreign = http.simulate_request(method, f"{ROOT}/runs/{run_id}{verb}", headers=headers)
            nothing = http.simulate_request(method, f"{ROOT}/runs/{unknown}{verb}", headers=headers)
            assert foreign.status_code == nothing.status_code == 404
            assert foreign.json["message"].replace(run_id, unknown) == nothing.json["message"]
    assert Run.get_by_id(run_id).state == "queued"


def test_the_detail_of_a_run_that_waits_for_a_worker(http, signed, start):
    headers, user = signed()
    run_id = start(headers, conversation_id="c1")
    answer = http.simulate_get(f"{ROOT}/runs/{run_id}", headers=headers)
    found = schemas.WorkflowRunDetail.model_validate(answer.json, extra="forbid")
    assert (found.status, found.request_message, found.user_id, found.steps) == ("running", "Hi", str(user.id), [])
    assert (found.conversation_id, found.ended_at, found.final_output_text) == ("c1", None, None)


def test_a_chat_is_no_workflow_run(http, signed, ask_as):
    headers, user = signed()
    run = ask_as(user)
    for method, verb in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
        assert http.simulate_request(method, f"{ROOT}/runs/{run.id}{verb}", headers=headers).status_code == 404
    assert http.simulate_get(f"{ROOT}/runs", headers=headers).json["items"] == []


def test_cancelling_ends_an_active_run_and_is_refused_for_one_that_has_ended(http, signed, start):
    headers, _ = signed()
    run_id = start(headers)
    answer = http.simulate_post(f"{ROOT}/runs/{run_id}/cancel", headers=headers)
    assert (answer.status_code, answer.json) == (202, {"success": True})
    detail = http.simulate_get(f"{ROOT}/runs/{run_id}", headers=headers).json
    assert (detail["status"], detail["ended_at"] is not None) == ("cancelled", True)
    again = http.simulate_post(f"{ROOT}/runs/{run_id}/cancel", headers=headers)
    assert (again.status_code, again.json["message"]) == (409, "Workflow run is not active")
    replay = http.simulate_get(f"/api/v1/runs/{run_id}/stream", headers=headers).text
    assert replay.count('"is_terminal":true') == 1 and '"workflow_key":"analysis_code"' in replay


def test_a_retry_opens_the_run_again_and_only_then(http, signed, start):
    headers, _ = signed()
    run_id = start(headers)
    assert http.simulate_post(f"{ROOT}/runs/{run_id}/retry", headers=headers).status_code == 409
    http.simulate_post(f"{ROOT}/runs/{run_id}/cancel", headers=headers)
    assert http.simulate_post(f"{ROOT}/runs/{run_id}/retry", headers=headers).status_code == 202
    assert Run.get_by_id(run_id).state == "queued"
    assert http.simulate_post(f"{ROOT}/runs/{run_id}/retry", headers=headers).status_code == 409


def test_a_retry_in_a_conversation_that_has_gone_on_is_refused(http, signed, start):
    headers, _ = signed()
    run_id = start(headers, conversation_id="c1")
    http.simulate_post(f"{ROOT}/runs/{run_id}/cancel", headers=headers)
    start(headers, conversation_id="c1")
    answer = http.simulate_post(f"{ROOT}/runs/{run_id}/retry", headers=headers)
    assert (answer.status_code, answer.json["error"]) == (409, "job_not_retryable")


@pytest.mark.parametrize(
    ("state", "error", "status"),
    [("failed", "provider_rate_limited", 429), ("failed", "output_invalid", 502), ("cancelled", "run_cancelled", 409)],
)
def test_a_run_without_a_result_answers_with_its_reason(http, signed, start, state, error, status):
    headers, _ = signed()
    headers["Idempotency-Key"] = "k"
    run_id = start(headers)
    with transaction():
        Run.close(run_id, state, error, "Because.")
    answer = http.simulate_post(f"{ROOT}/analysis_code/run", headers=headers, json={"message": "Hi"})
    assert (answer.status_code, answer.json["error"], answer.headers["X-Run-Id"]) == (status, error, run_id)
