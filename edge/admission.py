"""How much of a process one client network may use at a time. Counted in memory, before any work."""

from collections import Counter
from collections.abc import Collection
from threading import Lock
from typing import TypeAlias

import falcon

from edge import metrics
from edge.request import Request
from models.platform.errors import RateLimited
from models.platform.settings import settings

ALWAYS_ANSWERED = "/health"
Place: TypeAlias = tuple[str, bool]  # the client's network, and whether the path is public


class NetworkBusy(RateLimited):
    code, message = "too_many_requests", "Too many requests from your network are in progress. Retry shortly."


class Admission:
    """Middleware: refuses a request while its network has too many in progress. An open stream is none of them.

    Requests to public paths are counted apart: strangers who send slowly must not shut out the users of their own network.
    Elsewhere a stranger is refused before anything is read.
    """

    def __init__(self, public_paths: Collection[str]) -> None:
        self.public_paths = frozenset(public_paths)
        self.in_progress: Counter[Place] = Counter()
        self.lock = Lock()

    def process_request(self, req: Request, resp: falcon.Response) -> None:
        place, limit = self._place_of(req), settings.network_request_limit
        with self.lock:
            if 0 < limit <= self.in_progress[place] and req.path != ALWAYS_ANSWERED:
                metrics.REFUSED.labels("requests").inc()
                raise NetworkBusy()
            self.in_progress[place] += 1
        req.context.admitted = True

    def process_response(self, req: Request, resp: falcon.Response, resource: object, req_succeeded: bool) -> None:
        if not hasattr(req.context, "admitted"):
            return
        place = self._place_of(req)
        with self.lock:
            self.in_progress[place] -= 1
            if not self.in_progress[place]:
                del self.in_progress[place]

    def _place_of(self, req: Request) -> Place:
        return req.context.client.wide_network, req.path in self.public_paths
