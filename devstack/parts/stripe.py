"""A stand-in for Stripe. It implements Stripe's HTTP API, so the product uses it like the real one."""

import os
from typing import Any

from devstack.parts.web import WebPart
from devstack.process import port_is_free, wait_for

KEY = "sk_test_demo_longshore_standin"


class Stripe(WebPart):
    name, title, replaced_by = "stripe", "Stripe stand-in", ("STRIPE_SECRET_KEY", "STRIPE_API_BASE")
    application, connections = "devstack.stripe.server:create_app()", 1000
    # WEB_CONCURRENCY would ask for more workers; at its end gunicorn waits for idle connections, too
    more = ("--workers", "1", "--graceful-timeout", "1")

    def options(self) -> dict[str, Any]:
        settings = {
            "STANDIN_FOLDER": str(self.folder),
            "STANDIN_URL": self.url,
            "STANDIN_KEY": KEY,
            "STANDIN_WEBHOOK_URL": f"{self.edge_url}/webhooks/stripe" if self.edge_url else "",
            "STANDIN_WEBHOOK_SECRETS": self.webhook_secret(),
        }
        return {"env": os.environ | settings}

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
            "STRIPE_WEBHOOK_SECRET": self.webhook_secret(),
        }
