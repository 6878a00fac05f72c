"""/openapi.json."""

import json

from edge.openapi import PARAMETER
from tests.support.routes import OPERATIONS


def test_the_document_is_openapi_3_1_and_lists_every_operation(http):
    document = json.loads(http.simulate_get("/openapi.json").content)
    assert document["openapi"].startswith("3.1")
    listed = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {(method, PARAMETER.sub(r"{\1}", path)) for method, path, _ in OPERATIONS}
