"""/openapi.json."""

import json

import pytest

from edge.openapi import PARAMETER
from tests.support.routes import OPERATIONS


def test_the_document_is_openapi_3_1_and_lists_every_operation(http):
    document = json.loads(http.simulate_get("/openapi.json").content)
    assert document["openapi"].startswith("3.1")
    listed = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {(method, PARAMETER.sub(r"{\1}", path)) for method, path, _ in OPERATIONS}


@pytest.mark.parametrize("tag", ["chat", "agents", "tools", "conversations", "runs", "workflows"])
def test_operations_and_their_parameters_are_described(http, tag):
    document = json.loads(http.simulate_get("/openapi.json").content)
    operations = [one for methods in document["paths"].values() for one in methods.values() if one["tags"] == [tag]]
    assert operations
    for operation in operations:
        assert not operation["description"].startswith("Needs the scope"), operation["summary"]
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (operation["summary"], parameter["name"])
