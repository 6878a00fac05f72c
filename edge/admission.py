"""How much of a process one client network may use at a time. Counted in memory, before any work."""

from threading import Lock

import falcon

from edge import metrics
from edge.connections import ClientSocket
from edge.request import Request
from models.platform.errors import RateLimited
from models.platform.settings import settings

ALWAYS_ANSWERED = "/health"


class NetworkBusy(RateLimited):
    code, message = "too_many_requests", "Too many requests from your network are in progress. Retry shortly."


class Admission:
    """Middleware: limits the requests that a network has in progress. An open stream is none of them.

    At the limit, a new request replaces the oldest one that waits for its client, whose connection ends. So whoever sends
    slowly keeps nobody of their own network out. If none waits, the new one is refused.
    """

    def __init__(self) -> None:
        self.in_progress: dict[str, dict[int, ClientSocket | None]] = {}  # by network and request, the oldest first
        self.lock = Lock()

    def process_request(self, req: Request, resp: falcon.Response) -> None:
        network, limit = req.context.client.wide_network, settings.network_request_limit
        with self.lock:
            own = self.in_progress.setdefault(network, {})
            if 0 < limit <= len(own) and req.path != ALWAYS_ANSWERED and not _make_room(own):
                raise NetworkBusy()
            own[id(req)] = req.env.get("gunicorn.socket")
        req.context.admitted = True

    def process_response(self, req: Request, resp: falcon.Response, resource: object, req_succeeded: bool) -> None:
        if not hasattr(req.context, "admitted"):
            return
        network = req.context.client.wide_network
        with self.lock:
            own = self.in_progress.get(network, {})
            own.pop(id(req), None)
            if not own:
                self.in_progress.pop(network, None)


def _make_room(own: dict[int, ClientSocket | None]) -> bool:
    """End the oldest request that waits for its client. False if there is none."""
    metrics.REFUSED.labels("requests").inc()
    for request, sock in own.items():
        if sock is not None and sock.waits:
            del own[request]
            sock.hang_up()
            return True
    return False
