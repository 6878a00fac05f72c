"""The HTTP server of Resend's stand-in: POST /emails, as https://resend.com/docs/api-reference/emails/send-email has it.

Mails are written where the mail sink writes them. Those to bounced@resend.dev and complained@resend.dev are reported to the
edge by a signed webhook, as Resend does. `POST /_standin/faults` has the next calls fail: see `Faults`.
"""

import contextlib
import hmac
import json
import os
import re
import socket
import time
import uuid
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import falcon
import gevent
import httpx

from workers.gateways.webhooks import Message, signed

TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
MOST_RECIPIENTS = 50
JSON = {"Content-Type": "application/json"}
REPORTS = {"bounced@resend.dev": "email.bounced", "complained@resend.dev": "email.complained"}
FIELDS = {
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "html",
    "text",
    "reply_to",
    "headers",
    "tags",
    "scheduled_at",
    "attachments",
}


class Refused(Exception):
    def __init__(self, status: int, name: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.body, self.headers = status, {"statusCode": status, "name": name, "message": message}, headers


class Faults:
    """What goes wrong with the next `times` calls: {"status": 429, "times": 2}, or {"seconds": 30}, or {"lost": true}.

    lost: the mail is sent, and the connection ends without an answer.
    """

    def __init__(self) -> None:
        self.waiting: list[dict[str, Any]] = []

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        wish = {"status": 0, "seconds": 0, "lost": False, "times": 1, **req.get_media()}
        self.waiting += [wish] * wish.pop("times")
        resp.media = {}

    def next(self) -> dict[str, Any]:
        fault = self.waiting.pop(0) if self.waiting else {"status": 0, "seconds": 0, "lost": False}
        gevent.sleep(fault["seconds"])
        if fault["status"] == 429:
            raise Refused(429, "rate_limit_exceeded", "Too many requests.", **{"Retry-After": "1"})
        if fault["status"]:
            raise Refused(fault["status"], "application_error", "An unexpected error occurred.")
        return fault


class Emails:
    def __init__(self, folder: Path, key: str, faults: Faults, edge_url: str, webhook_secret: str) -> None:
        self.folder, self.key, self.faults = folder, key, faults
        self.edge_url, self.webhook_secret = edge_url, webhook_secret
        self.known: dict[str, tuple[bytes, str | None]] = {}  # by idempotency key: the body, and the id when it is done

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        if not hmac.compare_digest(req.get_header("Authorization") or "", f"Bearer {self.key}"):
            raise Refused(401, "validation_error", "API key is invalid")
        raw = req.bounded_stream.read()
        fault = self.faults.next()
        fields = _checked(raw)
        resp.media = {"id": self._once(req.get_header("Idempotency-Key"), raw, fields)}
        if fault["lost"]:
            req.env["gunicorn.socket"].shutdown(socket.SHUT_RDWR)

    def _once(self, key: str | None, raw: bytes, fields: dict[str, Any]) -> str:
        if key is None:
            return self._send(fields)
        if not 1 <= len(key) <= 256:
            raise Refused(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
        body, email_id = self.known.setdefault(key, (raw, None))
        if body != raw:
            raise Refused(409, "invalid_idempotent_request", "This key was used with a different payload.")
        if email_id is None:
            email_id = self._send(fields)
            self.known[key] = raw, email_id
        return email_id

    def _send(self, fields: dict[str, Any]) -> str:
        email_id, to = str(uuid.uuid4()), _list(fields["to"])
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = fields["from"], ", ".join(to), fields["subject"]
        message["Resend-Id"] = email_id
        if reply_to := _list(fields.get("reply_to")):
            message["Reply-To"] = ", ".join(reply_to)
        for name, value in (fields.get("headers") or {}).items():
            message[name] = value
        message.set_content(fields.get("text") or "")
        if fields.get("html"):
            message.add_alternative(fields["html"], subtype="html")
        (self.folder / f"{time.time_ns()}.eml").write_bytes(message.as_bytes())
        for address in to:
            if address in REPORTS and self.edge_url:
                gevent.spawn(self._report, REPORTS[address], email_id, address)
        return email_id

    def _report(self, kind: str, email_id: str, address: str) -> None:
        data: dict[str, Any] = {"email_id": email_id, "to": [address]}
        if kind == "email.bounced":
            data["bounce"] = {"type": "Permanent", "subType": "General", "message": "No such mailbox."}
        message = Message(f"msg_{uuid.uuid4().hex}", json.dumps({"type": kind, "data": data}).encode())
        headers = signed(message, [self.webhook_secret], int(time.time()))
        headers = {name.replace("webhook-", "svix-"): value for name, value in headers.items()} | JSON
        url = f"{self.edge_url}/webhooks/resend"
        for pause in (0, 1, 5, 25):  # the edge may be restarting
            gevent.sleep(pause)
            with contextlib.suppress(httpx.HTTPError):
                if httpx.post(url, content=message.body, headers=headers, timeout=10).is_success:
                    return


def _checked(raw: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw)
    except ValueError:
        raise Refused(400, "validation_error", "The body is not JSON.") from None
    if not isinstance(fields, dict) or set(fields) - FIELDS:
        raise Refused(422, "validation_error", "The body has unknown fields.")
    for name in ("from", "to", "subject"):
        if not fields.get(name):
            raise Refused(422, "missing_required_field", f"Missing `{name}` field.")
    if not fields.get("html") and not fields.get("text"):
        raise Refused(422, "missing_required_field", "Missing `html` or `text` field.")
    if not all(re.fullmatch(r"([^<>]*<)?[^\s<>@,]+@[^\s<>@,]+>?", one) for one in _list(fields["to"])):
        raise Refused(422, "validation_error", "Invalid `to` field.")
    if len(_list(fields["to"])) > MOST_RECIPIENTS:
        raise Refused(422, "validation_error", "Too many `to` addresses.")
    for tag in fields.get("tags") or []:
        if not TAG.fullmatch(tag["name"]) or not TAG.fullmatch(tag["value"]):
            raise Refused(
                422, "validation_error", "Tags should only contain ASCII letters, numbers, underscores, or dashes."
            )
    return fields


def _list(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


class Health:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {}


def _refuse(req: falcon.Request, resp: falcon.Response, error: Refused, params: dict[str, Any]) -> None:
    resp.status, resp.media = falcon.code_to_http_status(error.status), error.body
    resp.set_headers(error.headers)


def create_app() -> falcon.App[Any, Any]:
    faults = Faults()
    folder = Path(os.environ["STANDIN_MAILS"])
    folder.mkdir(parents=True, exist_ok=True)
    edge_url, secret = os.environ.get("STANDIN_EDGE_URL", ""), os.environ.get("STANDIN_WEBHOOK_SECRET", "")
    app = falcon.App()
    app.add_route("/emails", Emails(folder, os.environ["STANDIN_KEY"], faults, edge_url, secret))
    app.add_route("/_standin/faults", faults)
    app.add_route("/health", Health())
    app.add_error_handler(Refused, _refuse)
    return app
