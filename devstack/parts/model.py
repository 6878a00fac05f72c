"""A stand-in for the model provider. It implements OpenAI's HTTP API, so the product uses it like the real one."""

import os
from typing import Any

from devstack.parts.web import WebPart


class Model(WebPart):
    name, title, replaced_by = "openai", "model stand-in", ("OPENAI_API_KEY", "OPENAI_BASE_URL")
    application, connections = "devstack.openai.server:create_app()", 10_000

    def options(self) -> dict[str, Any]:
        return {"env": {**os.environ, "STANDIN_FOLDER": str(self.folder)}}

    def env(self) -> dict[str, str]:
        return {"OPENAI_API_KEY": "sk-demo", "OPENAI_BASE_URL": f"{self.url}/v1"}
