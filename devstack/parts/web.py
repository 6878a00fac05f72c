"""Parts that are web applications of ours, under gunicorn."""

import base64
import json
import secrets
import sys
from typing import ClassVar

from devstack.parts.base import Part
from devstack.process import responds


class WebPart(Part):
    """`application`: as gunicorn takes it. `connections`: most open ones. `more`: further options of gunicorn."""

    application: ClassVar[str]
    connections: ClassVar[int]
    more: ClassVar[tuple[str, ...]] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port()}"

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "gunicorn",
            "-k",
            "gevent",
            "--keep-alive",
            "75",
            "--worker-connections",
            str(self.connections),
            "--no-control-socket",
            "--log-level",
            "warning",
            *self.more,
            "-b",
            f"127.0.0.1:{self.port()}",
            self.application,
        ]

    def webhook_secret(self) -> str:
        """What signs the webhooks of a stand-in. It is made once, then read from the state folder."""
        file = self.folder / "secrets.json"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(json.dumps({"webhook": f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"}))
        secret: str = json.loads(file.read_text())["webhook"]
        return secret

    def ready(self) -> bool:
        return responds(f"{self.url}/health")
