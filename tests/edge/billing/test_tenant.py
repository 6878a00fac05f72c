"""The tenant in the path of a billing route, and where these routes are."""

import re
from types import SimpleNamespace
from uuid import UUID

import falcon.testing
import pytest

from edge.auth import TenantMismatch
from edge.resources.billing.tenant import MISMATCH, tenant_of
from models.platform.settings import Settings
from tests.support.accounts import CHEAP_HASHER
from tests.support.routes import OPERATIONS, UNKNOWN_ID

TENANT_ID = UUID("01a21a2b-53a2-772f-b57a-0ff67afa4581")
PATHS = [path for _, path, operation in OPERATIONS if operation.tag == "billing" or "/webhooks/" in path]


def request_of(tenant_id):
    return SimpleNamespace(context=SimpleNamespace(principal=SimpleNamespace(tenant_id=tenant_id)))


def test_the_path_names_the_tenant_of_the_token():
    assert tenant_of(request_of(TENANT_ID), str(TENANT_ID)) == TENANT_ID


@pytest.mark.parametrize(
    "named",
    [UNKNOWN_ID, str(TENANT_ID).upper(), TENANT_ID.hex, f"{{{TENANT_ID}}}", f" {TENANT_ID}", "acme", "None", ""],
)
def test_any_other_text_is_another_tenant(named):
    for acting in (TENANT_ID, None):
        with pytest.raises(TenantMismatch, match=re.escape(MISMATCH)):
            tenant_of(request_of(acting), named)


def test_without_billing_its_paths_are_not_there(clean):
    from edge.app import create_app

    assert "/api/v1/billing/plans" in PATHS
    without = Settings(enable_billing=False)
    http = falcon.testing.TestClient(create_app(without, hasher=CHEAP_HASHER), headers={"Host": "localhost"})
    for path in PATHS:
        answers = [http.simulate_request(method, path) for method in ("GET", "POST")]
        assert {answer.status_code for answer in answers} == {404}
    assert not [path for path in http.simulate_get("/openapi.json").json["paths"] if path in PATHS]
