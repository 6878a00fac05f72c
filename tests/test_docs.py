"""The documentation agrees with the code."""

import re
from pathlib import Path

from models.platform.settings import Settings

ROOT = Path(__file__).parent.parent


def test_exactly_the_existing_settings_are_documented():
    text = (ROOT / "docs" / "configuration.md").read_text()
    documented = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert documented - {"HOST", "EDGE_WORKERS", "PROMETHEUS_MULTIPROC_DIR"} == {
        name.upper() for name in Settings.model_fields
    }


def test_ci_runs_the_test_command_of_the_readme():
    assert "./dev test" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("./dev test")


def test_every_link_of_the_readme_leads_to_a_file():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
