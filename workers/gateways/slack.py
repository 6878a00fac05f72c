"""Slack: messages of our bot to a channel, by chat.postMessage."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import orjson

from models.platform.json import encode
from models.platform.settings import settings
from workers.gateways import timed_http
from workers.gateways.timed_http import TimedOut, Unreachable

LARGEST_ANSWER = 1024 * 1024
AGAIN = ("ratelimited", "rate_limited", "internal_error", "request_timeout", "fatal_error", "service_unavailable")
CODES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
LONGEST_TEXT = 2900  # of a block; Slack takes 3,000 characters
RETRY_AFTER = (0.5, 120.0)  # seconds: what a wish of Slack's is at least and at most taken for


class SlackFailed(Exception):
    """Nothing was posted, or nobody knows. `is_permanent`: another attempt would fail as well. `retry_after`: seconds, if Slack has
    named them."""

    def __init__(self, reason: str, *, is_permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.is_permanent, self.retry_after = reason, is_permanent, retry_after


def post(channel: str, text: str, blocks: Sequence[str]) -> None:
    """Post a message. `text`: what notifications show. `blocks`: its sections, as mrkdwn; see `escaped`. SlackFailed."""
    token = settings.slack_status_bot_token
    if token is None:
        raise SlackFailed("SLACK_STATUS_BOT_TOKEN is not set.")
    body = {
        "channel": channel,
        "text": text,
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": block}} for block in blocks],
        "unfurl_links": False,
        "unfurl_media": False,
    }
    headers = {
        "authorization": f"Bearer {token.get_secret_value()}",
        "content-type": "application/json; charset=utf-8",
        "accept-encoding": "identity",
        "user-agent": settings.app_name,
    }
    url = f"{settings.slack_api_base_url.rstrip('/')}/chat.postMessage"
    try:
        seconds = settings.slack_http_timeout_seconds
        answer = timed_http.post(url, headers, encode(body), seconds=seconds, largest=LARGEST_ANSWER, may_repeat=False)
    except TimedOut:
        raise SlackFailed("Slack did not answer in time.") from None
    except Unreachable:
        raise SlackFailed("Slack cannot be reached.") from None
    _check(answer)


def _check(answer: timed_http.Answer) -> None:
    if answer.status == 429:
        raise SlackFailed("Slack asks for patience.", retry_after=_seconds(answer.headers.get("retry-after", "")))
    if answer.status >= 500:
        raise SlackFailed(f"Slack has a fault (status {answer.status}).")
    try:
        said: Any = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise SlackFailed(f"Slack gave an answer that is none (status {answer.status}).")
    if said.get("ok") is not True:
        code = str(said.get("error"))[:64]
        raise SlackFailed(f"Slack has refused it ({code}).", is_permanent=code not in AGAIN)


def _seconds(text: str) -> float:
    least, most = RETRY_AFTER
    return min(most, max(least, float(text))) if text.isdecimal() else 1.0


def escaped(text: str, longest: int = LONGEST_TEXT) -> str:
    """Text for a block, in which it means nothing but itself. It is cut where it is too long with its codes, as Slack counts."""
    ends = list(accumulate(len(CODES.get(character, character)) for character in text))
    is_whole = not ends or ends[-1] <= longest
    kept = text if is_whole else f"{text[: bisect_right(ends, longest - 1)]}…"
    return "".join(CODES.get(character, character) for character in kept)
