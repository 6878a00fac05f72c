"""Reading, following and cancelling runs over HTTP."""

import pytest

from edge.schemas.runs import RunResponse
from models.auth.tenants import Tenant


@pytest.mark.parametrize(
    ("header", "query"),
    [
        ("-1", ""),
        ("1e3", ""),
        ("9" * 30, ""),
        ("1-0", ""),
        (None, "after=-1"),
        (None, "after=x"),
        (None, "after=" + "9" * 30),
    ],
)
def test_an_invalid_stream_cursor_is_a_422(http, signed, ask_as, header, query):
    headers, user = signed()
    run = ask_as(user)
    if header:
        headers["Last-Event-ID"] = header
    answer = http.simulate_get(f"/api/v1/runs/{run.id}/stream", headers=headers, query_string=query)
    assert answer.status_code == 422


def test_runs_are_hidden_from_colleagues_and_other_tenants(http, signed, ask_as):
    _, owner = signed("member")
    run = ask_as(owner, "secret", "diary")
    colleague, _ = signed("member")
    stranger, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"))
    for headers in (colleague, stranger):
        for path in (f"/api/v1/runs/{run.id}", f"/api/v1/runs/{run.id}/stream"):
            assert http.simulate_get(path, headers=headers).status_code == 404
        assert http.simulate_post(f"/api/v1/runs/{run.id}/cancel", headers=headers).status_code == 404


def test_a_run_matches_its_schema(http, signed, ask_as):
    headers, user = signed("owner")
    run = ask_as(user, "hello", "c1", role="owner")
    RunResponse.model_validate(http.simulate_get(f"/api/v1/runs/{run.id}", headers=headers).json, extra="forbid")
