"""A stand-in for the model provider. It implements OpenAI's HTTP API, so the product uses it like the real one."""

import sys

from devstack.parts.base import Part
from devstack.process import responds


class Model(Part):
    name, title, replaced_by = "openai", "model stand-in", ("OPENAI_API_KEY", "OPENAI_BASE_URL")

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
            "10000",
            "--no-control-socket",
            "--log-level",
            "warning",
            "-b",
            f"127.0.0.1:{self.port()}",
            "devstack.openai.server:create_app()",
        ]

    def ready(self) -> bool:
        return responds(f"http://127.0.0.1:{self.port()}/health")

    def env(self) -> dict[str, str]:
        return {"OPENAI_API_KEY": "sk-demo", "OPENAI_BASE_URL": f"http://127.0.0.1:{self.port()}/v1"}
