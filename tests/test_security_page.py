"""docs/security.md names tests and modules that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/security.md").read_text()
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_every_test_that_the_page_names_exists(name):
    assert re.search(rf"^\s*def {name}\(", TESTS, re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:models|edge|workers|devstack)/[\w/]+\.py)`", PAGE))))
def test_every_module_that_the_page_names_exists(path):
    assert (ROOT / path).exists()
