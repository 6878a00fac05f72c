"""The mails in the mail sink's folder."""

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path


def stored(state: Path) -> list[Path]:
    """The mail files of the instance in this state folder, oldest first."""
    return sorted((state / "mail").glob("*.eml"))


def read(file: Path) -> EmailMessage:
    """Parse one mail file."""
    return email.message_from_bytes(file.read_bytes(), policy=email.policy.default)


class MailNotices:
    """Announces each new mail once."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.seen = len(stored(state))

    def new(self) -> Iterator[str]:
        """One line for each mail that arrived since the last call."""
        files = stored(self.state)
        for file in files[self.seen :]:
            message = read(file)
            yield f"mail to {message['to']}: {message['subject']}    (./dev mail --show 1)"
        self.seen = len(files)
