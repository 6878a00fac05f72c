"""What happens around every request, outermost first."""

import ipaddress
import re
import time
import uuid

import falcon
import structlog

from edge import metrics
from edge.validation import storable
from models.platform.client_info import ClientInfo
from models.platform.database import release
from models.platform.errors import BadRequest, NotFound
from models.platform.settings import settings

log = structlog.get_logger("edge.access")
CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{8,128}")
PROBES = ("/health", "/health/ready", "/health/storage", "/metrics")
HOSTS = {item.strip("[]") for item in settings.items(settings.allowed_hosts.lower())}
PROXIES = [ipaddress.ip_network(item, strict=False) for item in settings.items(settings.trusted_proxies)]
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class InvalidHost(BadRequest):
    code, message = "invalid_host", "Invalid host header"


class Envelope:
    """Correlation id, timing, security headers, the access log; and the database connection goes back."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        given = req.get_header("X-Correlation-ID") or ""
        req.context.correlation_id = given if CORRELATION_ID.fullmatch(given) else str(uuid.uuid4())
        req.context.began = time.perf_counter()
        req.context.principal = None
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(correlation_id=req.context.correlation_id)
        for name, value in SECURITY.items():
            resp.set_header(name, value)
        if settings.hardened:
            resp.set_header("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
        if req.path not in PROBES:
            require_known_host(req)

    def process_resource(self, req, resp, resource, params) -> None:
        if not all(storable(value) for value in params.values() if isinstance(value, str)):
            raise NotFound()

    def process_response(self, req, resp, resource, req_succeeded) -> None:
        release()
        seconds = time.perf_counter() - req.context.began
        resp.set_header("X-Correlation-ID", req.context.correlation_id)
        resp.set_header("X-Process-Time", f"{seconds:.4f}")
        metrics.answered(req.method, req.uri_template or "unknown", resp.status[:3], seconds)
        if req.path not in PROBES:
            log.info(
                "http.response",
                http_method=req.method,
                http_path=req.path[:256],
                status_code=int(resp.status[:3]),
                duration_ms=round(seconds * 1000, 2),
                client_ip=client_ip(req),
            )


def require_known_host(req: falcon.Request) -> None:
    if not settings.debug and "*" not in HOSTS and req.host.lower().strip("[]") not in HOSTS:
        raise InvalidHost()


def client_ip(req: falcon.Request) -> str:
    """The peer, or whom a trusted proxy names: the last address in X-Forwarded-For that is no proxy of ours."""
    address = req.remote_addr or ""
    hops = (req.get_header("X-Forwarded-For") or "").split(",") if PROXIES else []
    while hops and _is_proxy(address):
        hop = hops.pop().strip()
        if not _parsed(hop):
            break
        address = hop
    return address


def client_info(req: falcon.Request) -> ClientInfo:
    return ClientInfo(client_ip(req) or None, req.user_agent)


def _parsed(text: str):
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_proxy(text: str) -> bool:
    address = _parsed(text)
    return address is not None and any(address in network for network in PROXIES)


def cors() -> falcon.CORSMiddleware:
    origins = settings.items(settings.allowed_origins)
    return falcon.CORSMiddleware(
        allow_origins="*" if "*" in origins else origins,
        allow_credentials=None if "*" in origins else origins,
        expose_headers=["X-Correlation-ID", "X-Run-Id", "Retry-After", "Idempotent-Replayed"],
    )
