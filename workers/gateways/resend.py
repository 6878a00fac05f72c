"""Resend, which sends mails by its HTTP API (https://resend.com/docs/api-reference)."""

import re
from email.message import EmailMessage
from typing import Any

import orjson

from models.mail.addresses import without_addresses
from models.platform.settings import settings
from workers.gateways import timed_http
from workers.gateways.outgoing import Mail, MailFailed, MailNotConfigured
from workers.gateways.timed_http import Answer

SECONDS = 10
LARGEST_ANSWER = 64 * 1024
LONGEST_KEY, LONGEST_TAG = 256, 256
LATER = 60  # seconds that Retry-After may ask for at most
# Resend writes these itself, or has a field of its own for them.
_OWN = {
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
}


class Resend:
    """Sends mails. Connections are kept for all of the process."""

    def send(self, mail: Mail) -> None:
        """MailFailed. A repeated one with the same key is accepted and not sent again, for a day."""
        if not settings.resend_api_key:
            raise MailNotConfigured("RESEND_API_KEY is not set: mails cannot be sent.")
        url = f"{settings.resend_base_url.rstrip('/')}/emails"
        headers = {
            "Authorization": f"Bearer {settings.resend_api_key.get_secret_value()}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"{settings.app_name}/{settings.app_version}",
            "Idempotency-Key": mail.key[:LONGEST_KEY],
        }
        try:
            body = orjson.dumps(payload(mail))
            answer = timed_http.post(url, headers, body, seconds=SECONDS, largest=LARGEST_ANSWER)
        except timed_http.TimedOut:
            raise MailFailed("Resend has not answered in time.", is_timeout=True) from None
        except timed_http.Unreachable as error:
            raise MailFailed(f"Resend was not reached ({error}).") from None
        _check(answer)

    def close(self) -> None:
        pass


def payload(mail: Mail) -> dict[str, Any]:
    """The body of the request."""
    message = mail.message
    fields = {
        "from": message["From"],
        "to": [mail.to],
        "subject": message["Subject"],
        "text": _text(message, "plain"),
        "html": _text(message, "html"),
        "reply_to": message["Reply-To"],
        "headers": {name: str(value) for name, value in message.items() if name.lower() not in _OWN},
        "tags": [{"name": "category", "value": tag(mail.category)}],
    }
    return {
        name: str(value) if name in ("from", "subject", "reply_to") else value
        for name, value in fields.items()
        if value
    }


def tag(text: str) -> str:
    """What Resend accepts as a tag: letters, digits, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:LONGEST_TAG] or "_"


def _text(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return part.get_content() if part else None


def _check(answer: Answer) -> None:
    said = _json(answer.body)
    if 200 <= answer.status < 300:
        if not isinstance(said.get("id"), str):
            raise MailFailed("Resend's answer has no id.")
        return
    name = tag(str(said.get("name") or "error"))
    if name == "invalid_idempotent_request":
        return  # a mail with this key was accepted, whose text was a little different: it is the same mail
    reason = f"Resend: {answer.status} {name}: {without_addresses(str(said.get('message') or ''))[:300]}"
    is_permanent = (
        answer.status == 422 and "`to`" in reason
    )  # others are about us, such as a domain that is not verified
    retry_after = (
        _seconds(answer) if name == "rate_limit_exceeded" else None
    )  # a quota of a day is no matter of seconds
    raise MailFailed(reason, is_permanent=is_permanent, retry_after=retry_after)


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(answer: Answer) -> float:
    text = answer.headers.get("retry-after", "")
    return min(max(float(text), 1), LATER) if re.fullmatch(r"\d{1,6}(\.\d+)?", text) else 1
