"""`./dev env`: the environment file of docker-compose.yml, with fresh secrets."""

import re
import secrets
from pathlib import Path

EXAMPLE = ".env.example"
RANDOM = "<random>"


def fresh(root: Path) -> str:
    """The example file with a random value in place of each RANDOM."""
    return re.sub(
        rf"(?<==){RANDOM}$", lambda _: secrets.token_hex(32), (root / EXAMPLE).read_text(), flags=re.MULTILINE
    )


def values(text: str) -> dict[str, str]:
    """{name: value} of an environment file."""
    lines = (line.partition("=") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in lines}
