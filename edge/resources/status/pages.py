"""The status page, for people. It is served from memory, needs no script, and says its age if it cannot be renewed."""

import falcon

from edge.endpoint import undocumented
from edge.pages import page
from edge.request import Request
from edge.status_page import StatusPage
from models.platform.authorization import PUBLIC
from models.platform.settings import settings


class StatusPages:
    def __init__(self) -> None:
        self.pages = StatusPage()

    @undocumented(action=PUBLIC)
    @page
    def on_get(self, req: Request, resp: falcon.Response) -> None:
        self.pages.now().send(req, resp, cache=_cache())

    @undocumented(action=PUBLIC)
    @page
    def on_get_history(self, req: Request, resp: falcon.Response) -> None:
        self.pages.history(req.get_param("month")).send(req, resp, cache=_cache())

    @undocumented(action=PUBLIC)
    @page
    def on_get_incident(self, req: Request, resp: falcon.Response, slug: str) -> None:
        self.pages.incident(slug).send(req, resp, cache=_cache())


def _cache() -> str:
    """Shared caches may keep it as long as we do, and for a day while we do not answer."""
    return f"public, max-age={max(0, settings.status_cache_seconds):.0f}, stale-if-error=86400"
