"""How everything is: for programs, and for readers of feeds. All of it is answered from memory."""

import falcon

from edge import status_documents, status_feeds, statuspage
from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.status.status import PlatformStatusResponse
from edge.status_documents import Render, send
from models.platform.authorization import PUBLIC

TEXT = {"type": "string"}
VALIDATORS = ("ETag", "Last-Modified")


class Status:
    @endpoint("Get Platform Status", "status", action=PUBLIC, answer_headers=VALIDATORS, schema=PlatformStatusResponse)
    def on_get(self, req: Request, resp: falcon.Response) -> None:
        """How the services are now and were in the last 90 days, with incidents and maintenance. Nothing in it is typed by hand
        but the texts of incidents. A copy that is still good is answered with 304."""
        send(status_documents.platform_status, req, resp)

    @endpoint("Get Platform Status Rss", "status", action=PUBLIC, schema=TEXT, media="application/rss+xml")
    def on_get_rss(self, req: Request, resp: falcon.Response) -> None:
        """Incidents and maintenance as an RSS feed. It changes only when they do."""
        send(status_feeds.rss, req, resp)

    @endpoint("Get Platform Status Rss Alias", "status", action=PUBLIC, schema=TEXT, media="application/rss+xml")
    def on_get_rss_alias(self, req: Request, resp: falcon.Response) -> None:
        """The same as `/api/v1/status/rss`."""
        send(status_feeds.rss, req, resp)

    @endpoint("Get Platform Status Atom", "status", action=PUBLIC, schema=TEXT, media="application/atom+xml")
    def on_get_atom(self, req: Request, resp: falcon.Response) -> None:
        """Incidents and maintenance as an Atom feed. Beyond the contract."""
        send(status_feeds.atom, req, resp)


class Statuspage:
    """The API that clients of Statuspage read, for pages of any origin."""

    @endpoint("Get Statuspage Summary", "status", action=PUBLIC, schema={})
    def on_get_summary(self, req: Request, resp: falcon.Response) -> None:
        """Components, open incidents and maintenance, in the shape of Statuspage's API. Beyond the contract."""
        _to_anyone(statuspage.summary, req, resp)

    @endpoint("Get Statuspage Status", "status", action=PUBLIC, schema={})
    def on_get_status(self, req: Request, resp: falcon.Response) -> None:
        """The headline, in the shape of Statuspage's API. Beyond the contract."""
        _to_anyone(statuspage.status, req, resp)

    @endpoint("List Statuspage Components", "status", action=PUBLIC, schema={})
    def on_get_components(self, req: Request, resp: falcon.Response) -> None:
        """The services, in the shape of Statuspage's API. Beyond the contract."""
        _to_anyone(statuspage.components, req, resp)

    @endpoint("List Statuspage Incidents", "status", action=PUBLIC, schema={})
    def on_get_incidents(self, req: Request, resp: falcon.Response) -> None:
        """The incidents of 90 days, in the shape of Statuspage's API. Beyond the contract."""
        _to_anyone(statuspage.incidents, req, resp)

    @endpoint("List Statuspage Unresolved Incidents", "status", action=PUBLIC, schema={})
    def on_get_unresolved(self, req: Request, resp: falcon.Response) -> None:
        """The open incidents, in the shape of Statuspage's API. Beyond the contract."""
        _to_anyone(statuspage.unresolved, req, resp)

    @endpoint("List Statuspage Maintenances", "status", action=PUBLIC, schema={})
    def on_get_maintenances(self, req: Request, resp: falcon.Response) -> None:
        """Maintenance of any state, in the shape of Statuspage's API. Beyond the contract."""
        _to_anyone(statuspage.maintenances, req, resp)

    @endpoint("List Statuspage Upcoming Maintenances", "status", action=PUBLIC, schema={})
    def on_get_upcoming(self, req: Request, resp: falcon.Response) -> None:
        """Maintenance that has not begun, in the shape of Statuspage's API. Beyond the contract."""
        _to_anyone(statuspage.upcoming, req, resp)

    @endpoint("List Statuspage Active Maintenances", "status", action=PUBLIC, schema={})
    def on_get_active(self, req: Request, resp: falcon.Response) -> None:
        """Maintenance that is going on, in the shape of Statuspage's API. Beyond the contract."""
        _to_anyone(statuspage.active, req, resp)


def _to_anyone(render: Render, req: Request, resp: falcon.Response) -> None:
    """Pages of other origins may read it: it is public, and depends on no cookie or token."""
    resp.set_header("Access-Control-Allow-Origin", "*")
    resp.set_header("Cross-Origin-Resource-Policy", "cross-origin")
    send(render, req, resp)
