"""The documentation agrees with the code."""

from pathlib import Path

from models.platform.settings import Settings

ROOT = Path(__file__).parent.parent


def test_the_configuration_page_lists_exactly_the_settings():
    text = (ROOT / "docs" / "configuration.md").read_text()
    variables = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert variables - {"HOST", "EDGE_WORKERS", "PROMETHEUS_MULTIPROC_DIR"} == {
        name.upper() for name in Settings.model_fields
    }


def test_ci_runs_the_test_command_of_the_readme():
    assert "./dev test" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("./dev test")


def test_every_file_that_the_readme_links_to_exists():
    import re

    for target in re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
