"""How much of a process one client network may use at a time. Counted in memory, before any work."""

from collections import Counter
from threading import Lock

import falcon

from edge import metrics
from edge.request import Request
from models.platform.errors import RateLimited
from models.platform.settings import settings

ALWAYS_ANSWERED = "/health"


class NetworkBusy(RateLimited):
    code, message = "too_many_requests", "Too many requests from your network are in progress. Retry shortly."


class Admission:
    """Middleware: refuses a request while its network has too many in progress. An open stream is none of them."""

    def __init__(self) -> None:
        self.in_progress: Counter[str] = Counter()
        self.lock = Lock()

    def process_request(self, req: Request, resp: falcon.Response) -> None:
        network, limit = req.context.client.wide_network, settings.network_request_limit
        with self.lock:
            if 0 < limit <= self.in_progress[network] and req.path != ALWAYS_ANSWERED:
                metrics.REFUSED.labels("requests").inc()
                raise NetworkBusy()
            self.in_progress[network] += 1
        req.context.admitted = True

    def process_response(self, req: Request, resp: falcon.Response, resource: object, req_succeeded: bool) -> None:
        if not hasattr(req.context, "admitted"):
            return
        network = req.context.client.wide_network
        with self.lock:
            self.in_progress[network] -= 1
            if not self.in_progress[network]:
                del self.in_progress[network]
