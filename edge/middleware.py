"""What happens before and after every request."""

import ipaddress
import re
import time
import uuid
from typing import Any

import falcon
import structlog

from edge import metrics
from edge.request import Request
from edge.validation import storable
from models.platform.client_info import ClientInfo
from models.platform.database import release
from models.platform.errors import BadRequest, NotFound
from models.platform.settings import Settings

log = structlog.get_logger("edge.access")
CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{8,128}")
PROBES = ("/health", "/health/ready", "/health/storage", "/metrics")
LOGGED_PATH = 256  # characters
# On every answer. A public page may say otherwise: /docs loads its script, and the public keys may be cached.
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
IN_PRODUCTION = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}


class InvalidHost(BadRequest):
    code, message = "invalid_host", "Invalid host header"


class Envelope:
    """Correlation id, client address, timing, security headers and access log; releases the database connection."""

    def __init__(self, settings: Settings) -> None:
        hosts = settings.items(settings.allowed_hosts.lower())
        self.any_host = "*" in hosts or (settings.debug and not settings.hardened)
        self.hosts = {host.strip("[]") for host in hosts}
        self.proxies = Proxies(settings.items(settings.trusted_proxies))
        self.headers = SECURITY | (IN_PRODUCTION if settings.hardened else {})

    def process_request(self, req: Request, resp: falcon.Response) -> None:
        sent_id = req.get_header("X-Correlation-ID") or ""
        context = req.context
        context.correlation_id = sent_id if CORRELATION_ID.fullmatch(sent_id) else str(uuid.uuid4())
        context.began = time.perf_counter()
        context.client = ClientInfo(self.proxies.client_of(req), req.user_agent)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(correlation_id=context.correlation_id)
        resp.set_headers(self.headers)
        if not self.any_host and req.path not in PROBES:
            self._check_host(req)

    def _check_host(self, req: Request) -> None:
        try:
            host = req.host
        except ValueError:  # Falcon's, for a port that is not a number
            raise InvalidHost() from None
        if host.lower().strip("[]") not in self.hosts:
            raise InvalidHost()

    def process_resource(self, req: Request, resp: falcon.Response, resource: object, params: dict[str, Any]) -> None:
        if not all(storable(value) for value in params.values() if isinstance(value, str)):
            raise NotFound()

    def process_response(self, req: Request, resp: falcon.Response, resource: object, req_succeeded: bool) -> None:
        release()
        seconds = time.perf_counter() - req.context.began
        status = resp.status_code
        resp.set_header("X-Correlation-ID", req.context.correlation_id)
        resp.set_header("X-Process-Time", f"{seconds:.4f}")
        metrics.answered(req.method, req.uri_template or "unknown", str(status), seconds)
        if req.path not in PROBES:
            log.info(
                "http.response",
                http_method=req.method,
                http_path=req.path[:LOGGED_PATH],
                status_code=status,
                duration_ms=round(seconds * 1000, 2),
                client_ip=req.context.client.ip,
            )


class Proxies:
    """The networks of trusted proxies, whose X-Forwarded-For is believed."""

    def __init__(self, networks: list[str]) -> None:
        self.networks = [ipaddress.ip_network(network, strict=False) for network in networks]
        self.warned = False

    def client_of(self, req: Request) -> str | None:
        """The peer's address; behind trusted proxies, the last untrusted one in X-Forwarded-For. None on a local socket."""
        address, forwarded = req.remote_addr or "", req.get_header("X-Forwarded-For") or ""
        if forwarded and not self.networks:
            self._warn(address)
        hops = forwarded.split(",") if self.networks else []
        while hops and self.contain(address):
            hop = hops.pop().strip()
            if _parse(hop) is None:
                break
            address = hop
        return address or None

    def _warn(self, peer: str) -> None:
        """Either a client invents the header, or a proxy is not trusted and all its clients count as one."""
        metrics.FORWARDED_UNTRUSTED.inc()
        if not self.warned:
            self.warned = True
            log.warning("http.forwarded_untrusted", peer=peer, hint="Set TRUSTED_PROXIES to the proxy's network.")

    def contain(self, text: str) -> bool:
        address = _parse(text)
        return address is not None and any(address in network for network in self.networks)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address; an IPv4 address that a dual-stack socket reports as ::ffff:10.0.0.1 is IPv4. None if it is neither."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class Cors(falcon.CORSMiddleware[Any, Any]):
    """Falcon's CORS, and `Vary: Origin`: without it a shared cache gives one origin the headers made for another."""

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        super().process_response(req, resp, resource, req_succeeded)
        if self.allow_origins != "*":
            resp.append_header("Vary", "Origin")


def cors(settings: Settings) -> Cors:
    origins = settings.items(settings.allowed_origins)
    return Cors(
        allow_origins="*" if "*" in origins else origins,
        allow_credentials=None if "*" in origins else origins,
        expose_headers=[
            "X-Correlation-ID",
            "X-Run-Id",
            "Retry-After",
            "Idempotent-Replayed",
            "X-Usage-Warning",
            "X-Device-Token",
            "traceresponse",
        ],
    )
