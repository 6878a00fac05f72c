"""The list of workflow runs: filters, and pages that neither lose nor repeat a run while others are added."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.platform.database import database
from models.platform.ids import uuid7
from models.runs.run import Run
from models.workflows import runs

START = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = "/api/v1/workflows/runs"


def add(me, seconds, state="succeeded", key="analysis_code", conversation="c"):
    ended = state != "running"
    return Run.create(
        id=uuid7(),
        tenant_id=me.tenant_id,
        user_id=me.user_id,
        kind="workflow",
        conversation_key=conversation,
        agent=key,
        state=state,
        created_at=START + timedelta(seconds=seconds),
        finished_at=START + timedelta(seconds=seconds, milliseconds=1500) if ended else None,
        terminal={"kind": "run_item"} if ended else None,
        terminal_sequence=1 if ended else None,
        result={"text": f"at {seconds}", "structured": None},
    ).id


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.lists(st.integers(0, 5), max_size=12),
    limit=st.integers(1, 5),
    inserts=st.lists(st.integers(-3, 8), max_size=6),
)
def test_pages_are_disjoint_and_complete_while_runs_are_added(person, times, limit, inserts):
    database.execute_sql("truncate run cascade")
    me = person()
    there = [add(me, seconds) for seconds in times]
    found, cursor, waiting = [], None, list(inserts)
    while True:
        page = runs.page(me, limit, cursor)
        assert len(page.items) <= limit
        found += [item.id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        if waiting:
            add(me, waiting.pop())
    assert len(found) == len(set(found)), "no run is repeated"
    assert set(there) <= set(found), "no run is lost"
    listed = [item for item in found if item in there]
    order = {run_id: (seconds, run_id) for run_id, seconds in zip(there, times, strict=True)}
    assert listed == sorted(there, key=lambda run_id: order[run_id], reverse=True)


def test_filters(http, signed, tenant):
    headers, user = signed()
    user.tenant_id, user.user_id = tenant.id, user.id
    old, new = add(user, 0), add(user, 60, "failed", "analysis_parallel", "other")
    active = add(user, 30, "running")
    for query, expected in {
        "": [new, active, old],
        "workflow_key=analysis_code": [active, old],
        "run_status=failed": [new],
        "run_status=running": [active],
        "conversation_id=other": [new],
        "started_after=2026-01-01T00:01:00Z": [new],
        "started_before=2026-01-01T00:00:00": [old],
        "started_before=2026-01-01T01:00:30%2B01:00&started_after=2026-01-01T00:00:30Z": [active],
        "started_before=2026-01-01T01:00:00+01:00": [old],
    }.items():
        answer = http.simulate_get(ROOT, headers=headers, query_string=query)
        assert [item["workflow_run_id"] for item in answer.json["items"]] == list(map(str, expected)), query
    [item] = http.simulate_get(ROOT, headers=headers, query_string="run_status=succeeded").json["items"]
    assert (item["duration_ms"], item["final_output_text"], item["step_count"]) == (1500, "at 0", 0)
    [item] = http.simulate_get(ROOT, headers=headers, query_string="run_status=running").json["items"]
    assert (item["duration_ms"], item["ended_at"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("run_status=queued", 400, "Invalid status filter."),
        ("started_before=yesterday", 400, "Invalid datetime format; use ISO-8601"),
        ("started_after=0001-01-01T00:00:00%2B14:00", 400, "Invalid datetime format; use ISO-8601"),
        ("cursor=x", 400, "Invalid pagination cursor"),
        ("limit=0", 422, None),
        ("limit=101", 422, None),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(http, signed, query, status, message):
    headers, _ = signed()
    answer = http.simulate_get(ROOT, headers=headers, query_string=query)
    assert answer.status_code == status
    assert message is None or answer.json["message"] == message
