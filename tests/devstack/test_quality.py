"""The quality commands of ./dev: coverage, test, check and mutate."""

import pytest
from typer.testing import CliRunner

from devstack import coverage_report, quality
from devstack.cli import app
from devstack.mutation.run import TARGETS


def test_coverage_is_summed_for_each_folder_and_its_parents():
    counts = {"num_statements": 4, "covered_lines": 3, "num_branches": 2, "covered_branches": 1}
    sums = coverage_report.folders({"models/jobs/a.py": {"summary": counts}, "edge/b.py": {"summary": counts}})
    assert {folder: total["num_statements"] for folder, total in sums.items()} == {
        "all": 8,
        "edge": 4,
        "models": 4,
        "models/jobs": 4,
    }


@pytest.mark.parametrize(
    ("arguments", "gates", "tests"), [([], True, True), (["tests/models", "-k", "lease"], False, True)]
)
def test_pytest_arguments_skip_the_gates(monkeypatch, arguments, gates, tests):
    from devstack.check import run

    done = []
    monkeypatch.setattr(run, "run", lambda *_: done.append("gates"))
    monkeypatch.setattr(quality.os, "execv", lambda _, command: done.append(command[3:]))
    CliRunner().invoke(app, ["test", *arguments], catch_exceptions=False)
    assert done == [*(["gates"] if gates else []), *([arguments] if tests else [])]


def test_tests_do_not_run_if_a_gate_reports_a_problem(monkeypatch):
    from devstack.check import run

    monkeypatch.setattr(run, "run", lambda *_: 1)
    monkeypatch.setattr(quality.os, "execv", lambda *_: pytest.fail("the tests ran"))
    assert CliRunner().invoke(app, ["test"]).exit_code == 1


@pytest.mark.parametrize("name", TARGETS)
def test_every_mutation_target_exists_and_has_tests(name):
    assert TARGETS[name].path().endswith(".py")
    assert TARGETS[name].test_files()


def test_check_list_prints_the_gates():
    result = CliRunner().invoke(app, ["check", "--list", "--fast"])
    assert "style" in result.stdout
    assert "types" not in result.stdout
