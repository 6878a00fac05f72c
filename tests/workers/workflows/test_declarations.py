"""What is refused when workflows are loaded, and how files are found."""

import pytest

from models.platform.errors import NotFound
from workers.agents.catalog import catalog
from workers.workflows import checks
from workers.workflows.catalog import Workflows, workflows
from workers.workflows.declarations import Stage, Step, Workflow

A = "data_analyst"
STEP = Step("a", A)


def faults(workflow):
    return list(checks.faults(workflow, catalog().agents))


def one(*steps, **more):
    return Workflow("w", "W", "-", steps=steps or (STEP,), **more)


@pytest.mark.parametrize(
    ("workflow", "fault"),
    [
        (one(Step("a", "nobody")), "names the unknown agent nobody"),
        (one(Step("a", "triage")), "may hand off: allow_handoff_agents is not set"),
        (Workflow("w", "W", "-"), "has no steps"),
        (Workflow("w", "W", "-", stages=(Stage("s", ()),)), "the stage s has no steps"),
        (Workflow("w", "W", "-", stages=(Stage("s", (STEP,), mode="sideways"),)), "has the mode sideways"),
        (Workflow("w", "W", "-", stages=(Stage("s", (STEP,), reducer=len),)), "has a reducer, but no branches"),
        (Workflow("w", "W", "-", stages=(Stage("s", (STEP,)),), steps=(STEP,)), "has both stages and steps"),
        (Workflow("w", "W", "-", stages=(Stage("s", (STEP,)), Stage("s", (Step("b", A),)))), "two stages are named s"),
        (one(STEP, STEP), "two steps are named a"),
        (one(Step("a", A, guard="yes")), "the guard of a is not a function"),
        (one(Step("a", A, guard=lambda value: True)), "the guard of a must take 2 arguments"),
        (one(Step("a", A, input_mapper=lambda: 1)), "the input mapper of a must take 2 arguments"),
        (
            Workflow("w", "W", "-", stages=(Stage("s", (STEP,), mode="parallel", reducer=lambda: 1),)),
            "the reducer of s must take 1 arguments",
        ),
        (one(Step("a", A, output_schema={"type": "objekt"})), "the step a has a malformed output schema"),
        (one(Step("a", A, output_schema=["no"])), "the step a has a malformed output schema"),
        (one(output_schema={"required": "x"}), "the workflow has a malformed output schema"),
        (one(Step("a", A, max_turns=0)), "has max_turns 0"),
        (one(Step("n" * 65, A)), "has 65 characters"),
        (Workflow("runs", "R", "-", steps=(STEP,)), "is taken by a path of the API"),
    ],
)
def test_a_workflow_that_cannot_work_is_refused(workflow, fault):
    found = faults(workflow)
    assert any(fault in line for line in found), found
    with pytest.raises(ValueError, match="workflow"):
        Workflows({workflow.key: workflow}, catalog())


def test_what_is_allowed():
    assert faults(one(Step("a", "triage"), allow_handoff_agents=True)) == []
    assert faults(one(Step("a", A, guard=lambda value, steps: True, output_schema={"type": "object"}))) == []


def test_the_bundled_workflows_are_sorted_and_one_is_the_default():
    assert [(key, each.default) for key, each in workflows().by_key.items()] == [
        ("analysis_code", True),
        ("analysis_parallel", False),
        ("retrieval", False),
    ]
    with pytest.raises(NotFound, match="Workflow 'x' not found"):
        workflows().get("x")


def test_files_of_ones_own_are_added_and_replace_those_of_the_same_name(tmp_path, configure):
    write(tmp_path, "analysis_code", "analysis_code", default=False)
    write(tmp_path, "mine", "mine", default=True)
    configure(agents_path=str(tmp_path))
    found = workflows().by_key
    assert (found["analysis_code"].display_name, found["mine"].default) == ("mine", True)
    assert sorted(found) == ["analysis_code", "analysis_parallel", "mine", "retrieval"]


def test_all_faults_of_the_files_are_told_at_once_with_file_and_line(tmp_path, configure):
    write(tmp_path, "first", "second")
    write(tmp_path, "third", "third", agent="nobody")
    configure(agents_path=str(tmp_path))
    with pytest.raises(SystemExit) as refused:
        workflows()
    first, third = str(refused.value).splitlines()
    assert "first.py:2: declares second: call the file second.py" in first
    assert "third.py:2: workflow third: the step a names the unknown agent nobody" in third


def test_in_development_a_file_that_breaks_leaves_the_workflows_as_they_were(tmp_path, configure, monkeypatch):
    from workers.agents import reading

    write(tmp_path, "mine", "mine")
    configure(agents_path=str(tmp_path))
    monkeypatch.setattr(reading, "CHECK_SECONDS", 0)
    before = workflows()
    write(tmp_path, "mine", "mine", agent="nobody")
    assert workflows() is before
    write(tmp_path, "mine", "mine", agent="code_assistant")
    assert workflows().get("mine").steps[0].agent == "code_assistant"


def write(root, file, key, agent=A, default=False):
    (root / "workflows").mkdir(exist_ok=True)
    (root / "workflows" / f"{file}.py").write_text(
        "from workers.workflows.declarations import Step, Workflow\n"
        f"W = Workflow({key!r}, 'mine', '-', steps=(Step('a', {agent!r}),), default={default})\n"
    )
