"""A stand-in for Stripe. It implements Stripe's HTTP API, so the product uses it like the real one."""

import json
import os
import secrets
import sys
from typing import Any

from devstack.parts.base import Part
from devstack.process import port_is_free, responds, wait_for

KEY = "sk_test_demo_longshore_standin"


class Stripe(Part):
    name, title, replaced_by = "stripe", "Stripe stand-in", ("STRIPE_SECRET_KEY", "STRIPE_API_BASE")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port()}"

    def _webhook_secret(self) -> str:
        """Made once, then read from the state folder."""
        file = self.folder / "secrets.json"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(json.dumps({"webhook": f"whsec_{secrets.token_hex(16)}"}))
        secret: str = json.loads(file.read_text())["webhook"]
        return secret

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "gunicorn",
            "-k",
            "gevent",
            "--workers",
            "1",  # WEB_CONCURRENCY would say otherwise
            "--keep-alive",
            "75",
            "--worker-connections",
            "1000",
            "--graceful-timeout",
            "1",  # it waits for idle connections, too
            "--no-control-socket",
            "--log-level",
            "warning",
            "-b",
            f"127.0.0.1:{self.port()}",
            "devstack.stripe.server:create_app()",
        ]

    def options(self) -> dict[str, Any]:
        settings = {
            "STANDIN_FOLDER": str(self.folder),
            "STANDIN_URL": self.url,
            "STANDIN_KEY": KEY,
            "STANDIN_WEBHOOK_URL": f"{self.edge_url}/webhooks/stripe" if self.edge_url else "",
            "STANDIN_WEBHOOK_SECRETS": self._webhook_secret(),
        }
        return {"env": os.environ | settings}

    def ready(self) -> bool:
        return responds(f"{self.url}/health")

    def kill(self) -> None:
        port = self.port()
        super().kill()
        wait_for(lambda: port_is_free(port), None, self.title)  # the server's worker ends a little later

    def env(self) -> dict[str, str]:
        return {
            "ENABLE_BILLING": "true",
            "ENABLE_BILLING_STREAM": "true",
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_API_BASE": self.url,
            "STRIPE_WEBHOOK_SECRET": self._webhook_secret(),
        }
