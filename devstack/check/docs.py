"""Every link in the documentation works, and docs/configuration.md lists every setting and no others."""

import ast
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from devstack.check.tree import PRODUCT, defining, parsed, sources

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE
)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def find(root: Path) -> list[str]:
    return [*links(root), *settings(root)]


def pages(root: Path) -> list[Path]:
    """The Markdown files of the repository, except those that git ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    paths = [root / line for line in done.stdout.splitlines()] if not done.returncode else root.rglob("*.md")
    return sorted(path for path in paths if path.exists())


def links(root: Path) -> Iterator[str]:
    for page in pages(root):
        text = FENCE.sub("", page.read_text())
        for match in LINK.finditer(text):
            target = match[1] or match[2]
            if not re.match(r"[a-z][a-z0-9+.-]*:", target) and (reason := _broken(page, target)):
                yield f"{page.relative_to(root)}: {target} {reason}"


def _broken(page: Path, target: str) -> str | None:
    name, _, anchor = target.partition("#")
    path = page.parent / name if name else page
    if not path.exists():
        return "does not exist"
    if anchor and path.suffix == ".md" and anchor not in anchors(path.read_text()):
        return "matches no heading on that page"
    return None


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and similar sites generate them."""
    names: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = next(n for n in range(len(names) + 1) if (f"{slug}-{n}" if n else slug) not in names)
        names.add(f"{slug}-{number}" if number else slug)
    return names


def settings(root: Path) -> Iterator[str]:
    """Compare docs/configuration.md with the fields of Settings and with the variables that the product reads directly."""
    page = root / "docs" / "configuration.md"
    listed = {line.split("`")[1] for line in page.read_text().splitlines() if line.startswith("| `")}
    fields = {name.upper() for name in import_module(defining(root, "models", "Settings")).Settings.model_fields}
    documentable = fields | {name for path in sources(root, PRODUCT) for name in _environment(path)}
    yield from (f"{page.relative_to(root)}: {name} is missing" for name in sorted(fields - listed))
    yield from (f"{page.relative_to(root)}: {name} is not a setting" for name in sorted(listed - documentable))


def _environment(path: Path) -> Iterator[str]:
    """Names of environment variables: every upper-case string in a file that reads the environment."""
    tree = parsed(path)
    if any(isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) == "os.environ" for node in ast.walk(tree)):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch("[A-Z_]+", node.value):
                yield node.value
