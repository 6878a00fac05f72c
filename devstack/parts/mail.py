"""A mail sink: every mail is written to a file, which `./dev mail` prints."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from devstack.parts.base import Part
from devstack.process import accepts_connections


class Mail(Part):
    name, title, replaced_by = "mail", "mail sink", ("SMTP_URL",)

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "aiosmtpd",
            "-n",
            "-c",
            "devstack.parts.mail.FileHandler",
            "-l",
            f"127.0.0.1:{self.port()}",
            str(self.folder),
        ]

    def ready(self) -> bool:
        return accepts_connections(self.port())

    def env(self) -> dict[str, str]:
        return {"SMTP_URL": f"smtp://127.0.0.1:{self.port()}"}


class FileHandler:
    """aiosmtpd handler that writes each mail to `<nanoseconds since 1970>.eml` in a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    @classmethod
    def from_cli(cls, parser: argparse.ArgumentParser, *args: str) -> "FileHandler":
        if len(args) != 1:
            parser.error("the mail sink needs one folder")
        return cls(args[0])

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        (self.folder / f"{time.time_ns()}.eml").write_bytes(envelope.content)
        return "250 stored"
