"""POST /api/v1/logs: what browsers log becomes lines of our own log. The route is there with ENABLE_FRONTEND_LOG_INGEST only."""

import hashlib
import hmac
import logging
from typing import Any

import falcon

from edge import metrics, validation
from edge.auth import optional_caller
from edge.bodies import BodyLimits, read_body
from edge.endpoint import endpoint
from edge.errors import TooLarge
from edge.request import Request
from edge.schemas.browser_logs import LONGEST_TEXT, BrowserLogRequest, BrowserLogResponse
from models.platform import limits
from models.platform.authorization import PUBLIC, PeopleOnly
from models.platform.errors import Forbidden, NotAuthenticated
from models.platform.principal import Principal
from models.platform.redaction import without_tokens
from models.platform.settings import settings
from models.platform.texts import one_line

log = logging.getLogger("frontend")
LARGEST = 16_384  # bytes
RESERVED = ("level", "message")  # in `fields`: the log has its own
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.ERROR,  # a browser must not wake anybody up
}


class AnonymousLogsOff(Forbidden):
    code, message = "anonymous_logs_off", "Logs are taken from signed-in users only."


class LogNotSigned(NotAuthenticated):
    code, message = "signature_invalid", "The signature in X-Log-Signature is missing or wrong."


class BrowserLogs:
    @endpoint("Take A Browser's Log", "logs", action=PUBLIC, status=202, headers=("X-Log-Signature",))
    def on_post(self, req: Request, resp: falcon.Response) -> BrowserLogResponse:
        """Writes one line to the log: `event`, and perhaps `level`, `message`, `fields`, `scope`, `source` and `timestamp`. The caller is
        signed in; or, if that is allowed, `X-Log-Signature` is the HMAC-SHA256 of the body in hexadecimal. Beyond the contract."""
        caller = optional_caller(req)
        if caller is not None and caller.account:
            raise PeopleOnly()
        if caller is None and not settings.allow_anon_frontend_logs:
            raise AnonymousLogsOff()
        _charge(req, caller)
        body = validation.parsed(req, _body(req, is_signed=caller is None), BrowserLogRequest)
        _write(body, caller, req.context.client.ip)
        return BrowserLogResponse()


def _charge(req: Request, caller: Principal | None) -> None:
    """QuotaExceeded. A stranger pays before the body is read."""
    limit = settings.frontend_log_rate_limit_per_minute
    if caller is None:
        limits.hit("frontend_logs_ip", limit, 60, req.context.client.network)
    else:
        limits.hit("frontend_logs_user", limit, 60, caller.tenant_id, caller.user_id)


def _body(req: Request, *, is_signed: bool) -> bytes:
    """TooLarge, which is looked at before the signature; LogNotSigned."""
    try:
        raw = read_body(req, _limits(req))
    except TooLarge:
        raise TooLarge("Log payload too large.") from None
    if is_signed:
        _require_signature(raw, req.get_header("X-Log-Signature") or "")
    return raw


def _limits(req: Request) -> BodyLimits:
    usual = BodyLimits.of(req)
    return BodyLimits(LARGEST, usual.seconds, usual.elements)


def _require_signature(raw: bytes, signature: str) -> None:
    secret = settings.frontend_log_shared_secret
    key = secret.get_secret_value().encode() if secret else b""
    expected = hmac.new(key, raw, hashlib.sha256).hexdigest()
    if not key or not hmac.compare_digest(expected.encode(), signature.strip().lower().encode()):
        raise LogNotSigned()


def _write(body: BrowserLogRequest, caller: Principal | None, ip: str | None) -> None:
    """All that a browser says is in values of their own, so that it can pass for nothing that we say."""
    fields = {name: value for name, value in body.fields.items() if name.lower() not in RESERVED}
    said = {
        "frontend_event": _text(body.event),
        "frontend_level": body.level,
        "frontend_message": _text(body.message),
        "frontend_scope": _text(body.scope),
        "frontend_source": _text(body.source),
        "frontend_time": _text(body.timestamp),
        "fields": _harmless(fields),
        "client_ip": ip,
        "user_id": str(caller.user_id) if caller else None,
        "tenant_id": str(caller.tenant_id) if caller and caller.tenant_id else None,
    }
    log.log(LEVELS[body.level], "frontend.log", extra={key: value for key, value in said.items() if value is not None})
    metrics.BROWSER_LOGS.labels("user" if caller else "anonymous", body.level).inc()


def _text(text: str | None) -> str | None:
    found = one_line((text or "")[:LONGEST_TEXT])
    return without_tokens(found) if found else None


def _harmless(value: Any) -> Any:
    """The value with texts on one line, without tokens. The depth is limited by the parser."""
    if isinstance(value, str):
        return _text(value) or ""
    if isinstance(value, dict):
        return {_text(key) or "": _harmless(item) for key, item in value.items()}
    return [_harmless(item) for item in value] if isinstance(value, list) else value
