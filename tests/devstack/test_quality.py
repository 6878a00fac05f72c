"""The commands around the tests: what they add up, and what they start."""

import pytest
from typer.testing import CliRunner

from devstack import coverage_report, quality
from devstack.cli import app
from devstack.mutation.run import TARGETS


def test_coverage_is_summed_for_a_folder_and_all_above_it():
    one = {"num_statements": 4, "covered_lines": 3, "num_branches": 2, "covered_branches": 1}
    sums = coverage_report.folders({"models/jobs/a.py": {"summary": one}, "edge/b.py": {"summary": one}})
    assert {folder: counts["num_statements"] for folder, counts in sums.items()} == {
        "all": 8,
        "edge": 4,
        "models": 4,
        "models/jobs": 4,
    }


@pytest.mark.parametrize(
    ("arguments", "gates", "tests"), [([], True, True), (["tests/models", "-k", "lease"], False, True)]
)
def test_a_part_of_the_tests_runs_without_the_gates(monkeypatch, arguments, gates, tests):
    from devstack.check import run

    done = []
    monkeypatch.setattr(run, "run", lambda *_: done.append("gates"))
    monkeypatch.setattr(quality.os, "execv", lambda _, command: done.append(command[3:]))
    CliRunner().invoke(app, ["test", *arguments], catch_exceptions=False)
    assert done == [*(["gates"] if gates else []), *([arguments] if tests else [])]


def test_where_a_gate_finds_something_no_test_runs(monkeypatch):
    from devstack.check import run

    monkeypatch.setattr(run, "run", lambda *_: 1)
    monkeypatch.setattr(quality.os, "execv", lambda *_: pytest.fail("the tests were run"))
    assert CliRunner().invoke(app, ["test"]).exit_code == 1


@pytest.mark.parametrize("name", TARGETS)
def test_what_can_be_mutated_is_there_with_its_tests(name):
    assert TARGETS[name].path().endswith(".py")
    assert TARGETS[name].test_files()


def test_the_gates_are_listed():
    shown = CliRunner().invoke(app, ["check", "--list", "--fast"])
    assert "style" in shown.stdout
    assert "types" not in shown.stdout
