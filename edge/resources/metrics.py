"""/metrics: Prometheus text for all processes that share PROMETHEUS_MULTIPROC_DIR."""

import hmac
import os

import falcon
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from edge.endpoint import undocumented
from edge.request import Request
from models.platform.authorization import PUBLIC
from models.platform.errors import NotAuthenticated
from models.platform.settings import settings


class Metrics:
    @undocumented(action=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> None:
        if settings.metrics_token:
            scheme, _, token = (req.auth or "").partition(" ")
            expected = settings.metrics_token.get_secret_value()
            if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), expected.encode()):
                raise NotAuthenticated()
        registry = REGISTRY
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        resp.content_type = CONTENT_TYPE_LATEST
        resp.data = generate_latest(registry)
