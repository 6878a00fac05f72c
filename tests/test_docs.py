"""The documentation agrees with the code."""

from pathlib import Path

from pydantic import Secret, SecretStr

from models.platform.settings import Settings

ROOT = Path(__file__).parent.parent
NOT_IN_SETTINGS = {"EDGE_WORKERS", "PROMETHEUS_MULTIPROC_DIR"}
ABBREVIATED = {"SIGNUP_SHARED_DOMAINS", "STORAGE_ALLOWED_MIME_TYPES", "VECTOR_ALLOWED_MIME_TYPES"}  # not printed whole


def documented_defaults():
    """{variable: default} of the tables in docs/configuration.md."""
    lines = (ROOT / "docs" / "configuration.md").read_text().splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
    return {name.strip(" `"): default.strip(" `") for name, default in rows}


def default_text(default):
    """A default as the page writes it: nothing for None, no decimals for a whole number, "_" between thousands."""
    if isinstance(default, Secret | SecretStr):
        default = default.get_secret_value()
    if default is None:
        return ""
    if isinstance(default, bool) or not isinstance(default, int | float):
        return str(default)
    return f"{default:_}" if default >= 10_000 else f"{default:g}"


def test_the_configuration_page_lists_exactly_the_settings():
    assert set(documented_defaults()) - NOT_IN_SETTINGS == {name.upper() for name in Settings.model_fields}


def test_the_configuration_page_has_the_defaults_of_the_settings():
    wrong = {
        name: (documented, default)
        for name, documented in documented_defaults().items()
        if name not in NOT_IN_SETTINGS | ABBREVIATED
        and documented != (default := default_text(Settings.model_fields[name.lower()].default))
    }
    assert not wrong


def test_ci_runs_the_test_command_of_the_readme():
    assert "./dev test" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("./dev test")


def test_every_file_that_the_readme_links_to_exists():
    import re

    for target in re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target.partition("#")[0]).exists(), target
