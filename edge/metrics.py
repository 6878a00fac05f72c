"""The metrics of the edge."""

import contextlib
from collections.abc import Iterator
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from models.platform.errors import DomainError

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
REQUESTS = Counter("http_requests_total", "Answered requests.", ["method", "route", "status"])
SECONDS = Histogram("http_request_duration_seconds", "Time to the first byte.", ["method", "route"], buckets=BUCKETS)
STREAMS = Gauge("http_open_streams", "Open event streams.", multiprocess_mode="livesum")
VERIFICATIONS = Counter("jwt_verifications_total", "Verified tokens.", ["result", "token_use"])
SIGNINGS = Counter("jwt_signings_total", "Signed tokens.", ["result", "token_use"])
VERIFICATION_SECONDS = Histogram(
    "jwt_verification_duration_seconds", "Time to verify a token.", ["result", "token_use"], buckets=BUCKETS
)
JWKS = Counter("jwks_requests_total", "Requests for the public keys.")
JWKS_SAME = Counter("jwks_not_modified_total", "Requests for the public keys answered with 304.")
SIGNUPS = Counter("signup_attempts_total", "Registrations.", ["result", "policy"])
SIGNUP_BLOCKED = Counter("signup_blocked_total", "Requests for access that were dropped.", ["reason"])
SERVICE_TOKENS = Counter("service_account_issuance_total", "Issues of service account tokens.", ["account", "result"])
SERVICE_TOKEN_SECONDS = Histogram(
    "service_account_issuance_latency_seconds", "Time of such an issue.", ["account", "result"], buckets=BUCKETS
)
NONCES_SEEN = Counter("nonce_cache_hits_total", "Signed requests with a nonce that was used before.")
NONCES_NEW = Counter("nonce_cache_misses_total", "Signed requests with a new nonce.")
FORWARDED_UNTRUSTED = Counter(
    "http_forwarded_untrusted_total", "Requests with an X-Forwarded-For that TRUSTED_PROXIES does not allow to be read."
)
LIMITED = Counter("rate_limit_hits_total", "Refused calls.", ["quota", "scope"])
REFUSED = Counter("http_refused_total", "What clients were refused to protect others.", ["reason"])
BROWSER_LOGS = Counter("browser_logs_total", "Lines that browsers have logged.", ["caller", "level"])
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# All that follow are exported as 0 before the first sample.
QUOTAS = (
    "billing_stream_per_minute", "chat_per_minute", "chat_stream_concurrency", "chat_stream_per_minute", "contact_email",
    "contact_ip", "email_verify_ip", "email_verify_user", "frontend_logs_ip", "frontend_logs_user", "password_reset_ip",
    "signup_per_day", "signup_per_hour", "signup_request_per_day", "signup_request_per_hour",
    "status_subscribe_email_ip", "status_subscribe_webhook_ip",
)  # fmt: skip
for _quota in QUOTAS:
    LIMITED.labels(_quota, "user")
for _policy in ("public", "invite_only", "approval"):
    SIGNUPS.labels("success", _policy)
for _level in ("info", "error"):
    BROWSER_LOGS.labels("user", _level)
SIGNUP_BLOCKED.labels("honeypot")
SERVICE_TOKENS.labels("unknown", "success")
SERVICE_TOKEN_SECONDS.labels("unknown", "success")
VERIFICATION_SECONDS.labels("success", "access")
for _reason in ("connections", "requests", "passwords", "json", "slow_body", "slow_reader", "large_bodies"):
    REFUSED.labels(_reason)
VERIFICATIONS.labels("success", "access")
SIGNINGS.labels("success", "access")


@contextlib.contextmanager
def signup_attempt(policy: str) -> Iterator[None]:
    """Count a registration under this signup policy as a success, or by the code of the error that the block raises."""
    try:
        yield
    except DomainError as error:
        SIGNUPS.labels(error.code, policy).inc()
        raise
    SIGNUPS.labels("success", policy).inc()


def verified(result: str, use: str, seconds: float) -> None:
    """Count a verified token: `result` is "success" or "error", `use` is "access", "refresh" or "unknown"."""
    VERIFICATIONS.labels(result, use).inc()
    VERIFICATION_SECONDS.labels(result, use).observe(seconds)


def service_token_issued(account: str, result: str, seconds: float) -> None:
    """`account`: one of the catalogue, or "unknown". `result`: success, or the code of the error."""
    SERVICE_TOKENS.labels(account, result).inc()
    SERVICE_TOKEN_SECONDS.labels(account, result).observe(seconds)


def answered(method: str, route: str, status: str, seconds: float) -> None:
    """Count an answer and its time to the first byte in seconds."""
    method = method if method in METHODS else "other"  # clients must not be able to create labels
    count, duration = _series(method, route, status)
    count.inc()
    duration.observe(seconds)


@cache
def _series(method: str, route: str, status: str) -> tuple[Counter, Histogram]:
    """Cached, since looking a series up costs more than counting. There are few methods, routes and statuses."""
    return REQUESTS.labels(method, route, status), SECONDS.labels(method, route)
