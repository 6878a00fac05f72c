"""What the documentation promises."""

from pathlib import Path

from models.platform.settings import Settings

ROOT = Path(__file__).parent.parent


def test_every_setting_is_documented_and_no_other():
    text = (ROOT / "docs" / "configuration.md").read_text()
    named = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert named - {"HOST", "EDGE_WORKERS", "PROMETHEUS_MULTIPROC_DIR"} == {
        name.upper() for name in Settings.model_fields
    }


def test_ci_runs_the_readmes_test_command():
    assert "./dev test" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("./dev test")


def test_every_page_that_the_readme_names_exists():
    import re

    for target in re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
