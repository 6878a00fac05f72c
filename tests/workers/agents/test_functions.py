"""Functions as tools: what the model is told of their parameters, and which arguments reach them."""

import json
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from workers.agents import outcomes
from workers.agents.functions import ToolsContext, check_arguments, tool

CONTEXT = ToolsContext(None, None)


class Place(BaseModel, extra="forbid"):
    city: str


@tool("test")
def typed(
    context: ToolsContext,
    day: date,
    many: Annotated[int, Field(ge=1, le=3, description="How many.")],
    kind: Literal["a", "b"],
    places: list[Place],
) -> str:
    """Takes all kinds."""
    return f"{day.year} {many} {kind} {[place.city for place in places]}"


@tool("test", seconds=1, repeatable=False, when_cut="person", approval=lambda arguments: arguments["copies"] > 1)
def optional(context: ToolsContext, copies: int = 1, *, note: str = "") -> str:
    """Takes little."""
    return f"{copies}{note}"


@tool("test")
def anything(context: ToolsContext, value: Any) -> str:
    """Takes what comes."""
    return type(value).__name__


ARGUMENTS = {"day": "2026-11-26", "many": 2, "kind": "a", "places": [{"city": "Bremen"}]}


def call(declared, text):
    read = outcomes.read_arguments(declared, text)
    return read if isinstance(read, outcomes.Outcome) else outcomes.call_function(declared, read, CONTEXT)


def test_the_parameters_are_described_by_their_types():
    properties = typed.parameters["properties"]
    assert properties["day"] == {"format": "date", "type": "string"}
    assert properties["many"] == {"description": "How many.", "maximum": 3, "minimum": 1, "type": "integer"}
    assert properties["kind"]["enum"] == ["a", "b"]
    assert typed.parameters["required"] == list(properties) and typed.strict
    assert "title" not in json.dumps(typed.parameters).replace('"title": "Place"', "")


def test_a_tool_with_an_optional_parameter_cannot_be_strict():
    assert not optional.strict and optional.parameters["required"] == []
    assert (optional.seconds, optional.repeatable, optional.when_cut, optional.asks) == (
        1,
        False,
        "person",
        "by_arguments",
    )


def test_arguments_arrive_as_what_they_are():
    assert call(typed, json.dumps(ARGUMENTS)).output == "2026 2 a ['Bremen']"
    assert call(optional, "").output == "1" and call(optional, '{"copies": 2, "note": "x"}').output == "2x"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"day": "soon"}, "day: "),
        ({"many": 4}, "many: Input should be less than or equal to 3"),
        ({"kind": "c"}, "kind: Input should be 'a' or 'b'"),
        ({"places": [{"city": 5}]}, "places.0.city: "),
        ({"places": [{"city": "x", "more": 1}]}, "places.0.more: Extra inputs"),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"context": "mine"}, "context: Extra inputs"),
    ],
)
def test_other_arguments_are_told_to_the_model_and_never_reach_the_function(change, told):
    outcome = call(typed, json.dumps({**ARGUMENTS, **change}))
    assert outcome.failed == "arguments" and f"do not fit typed: {told}" in outcome.output


@pytest.mark.parametrize("text", ["[]", "5", "null", '"x"', "{", "[" * 100_000, '{"value": ' + "[" * 100_000])
def test_arguments_that_are_no_object_or_no_json_are_told_too(text):
    assert call(anything, text).failed == "arguments"


def test_what_is_told_has_a_bound():
    outcome = call(typed, json.dumps({"x" * 1000 + str(number): 1 for number in range(1000)}))
    assert outcome.failed == "arguments" and len(outcome.output) < 2000


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists), max_size=5))
def test_no_arguments_make_a_call_raise(values):
    for declared in (typed, optional, anything):
        assert isinstance(call(declared, json.dumps(values)).output, str)


def test_the_checked_arguments_are_those_of_the_function():
    assert check_arguments(optional, {"note": "x"}) == {"copies": 1, "note": "x"}
