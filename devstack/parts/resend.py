"""A stand-in for Resend's API, started with RESEND_EMAIL_ENABLED=true. Its mails are where the mail sink's are."""

import os
from collections.abc import Mapping
from typing import Any

from devstack.parts.web import WebPart

KEY = "re_demo_longshore_standin"


class Resend(WebPart):
    name, title, replaced_by = "resend", "Resend stand-in", ("RESEND_BASE_URL",)
    application, connections = "devstack.resend.server:create_app()", 1000
    more = ("--workers", "1", "--graceful-timeout", "1")

    @classmethod
    def is_wanted(cls, environ: Mapping[str, str]) -> bool:
        is_on = environ.get("RESEND_EMAIL_ENABLED", "").lower() in ("1", "true", "on", "yes")
        return is_on and super().is_wanted(environ)

    def options(self) -> dict[str, Any]:
        settings = {
            "STANDIN_MAILS": str(self.folder.parent / "mail"),
            "STANDIN_KEY": KEY,
            "STANDIN_EDGE_URL": self.edge_url,
            "STANDIN_WEBHOOK_SECRET": self.webhook_secret(),
        }
        return {"env": os.environ | settings}

    def env(self) -> dict[str, str]:
        return {
            "RESEND_EMAIL_ENABLED": "true",
            "RESEND_API_KEY": KEY,
            "RESEND_BASE_URL": self.url,
            "RESEND_WEBHOOK_SECRET": self.webhook_secret(),
        }
