"""How many requests one client network may have in progress. Counted before any work."""

import falcon

from edge.places import Places
from edge.request import Request
from models.platform.errors import RateLimited
from models.platform.settings import settings

# Stripe may deliver a thousand events a second, and a request costs little there until its signature holds.
UNCOUNTED = ("/health", "/webhooks/stripe")


class NetworkBusy(RateLimited):
    code, message = "too_many_requests", "Too many requests from your network are in progress. Retry shortly."


class Admission:
    """Middleware: a request takes a place of its network, or is refused. An open stream has none."""

    def __init__(self) -> None:
        self.places = Places("requests")

    def process_request(self, req: Request, resp: falcon.Response) -> None:
        limit = 0 if req.path in UNCOUNTED else settings.network_request_limit
        if not self.places.add(req.context.client.wide_network, id(req), req.env.get("gunicorn.socket"), limit):
            raise NetworkBusy()
        req.context.admitted = True

    def process_response(self, req: Request, resp: falcon.Response, resource: object, req_succeeded: bool) -> None:
        if hasattr(req.context, "admitted"):
            self.places.remove(req.context.client.wide_network, id(req))
