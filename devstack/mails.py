"""The mails that the sink has kept."""

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path


def stored(state: Path) -> list[Path]:
    """Their files, oldest first."""
    return sorted((state / "mail").glob("*.eml"))


def read(file: Path) -> EmailMessage:
    return email.message_from_bytes(file.read_bytes(), policy=email.policy.default)


class Mails:
    """Tells of each new mail once."""

    def __init__(self, state: Path):
        self.state, self.known = state, len(stored(state))

    def new(self) -> Iterator[str]:
        files = stored(self.state)
        for file in files[self.known :]:
            message = read(file)
            yield f"mail to {message['to']}: {message['subject']}    (./dev mail --show 1)"
        self.known = len(files)
