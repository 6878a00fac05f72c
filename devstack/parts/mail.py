"""A mail sink: every message becomes a file that `./dev mail` shows."""

import sys
from typing import Any

from devstack.parts.base import Part
from devstack.process import answers


class Mail(Part):
    name, title, replaced_by = "mail", "mail sink", ("SMTP_URL",)

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "aiosmtpd",
            "-n",
            "-c",
            "devstack.parts.mail.Keep",
            "-l",
            f"127.0.0.1:{self.port()}",
            str(self.folder),
        ]

    def ready(self) -> bool:
        return answers(self.port())

    def env(self) -> dict[str, str]:
        return {"SMTP_URL": f"smtp://127.0.0.1:{self.port()}"}


class Keep:
    """aiosmtpd handler that writes `<time>.eml` files into a folder."""

    def __init__(self, folder: str):
        self.folder = folder

    @classmethod
    def from_cli(cls, parser: Any, *args: str) -> "Keep":
        if len(args) != 1:
            parser.error("the mail sink needs one folder")
        return cls(args[0])

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        import time
        from pathlib import Path

        Path(self.folder, f"{time.time_ns()}.eml").write_bytes(envelope.content)  # noqa: ASYNC240  a small file
        return "250 kept"
