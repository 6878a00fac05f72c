"""Answers that were rendered once and are sent to many: their bytes, plain and gzipped, with what tells clients that nothing is new."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property

import falcon

from edge.request import Request

GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")
WORTH_IT = 512  # bytes; smaller ones are not gzipped


@dataclass(frozen=True)
class Rendered:
    """`modified`: when its content last changed, if that is known."""

    body: bytes
    content_type: str
    modified: datetime | None = None

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:32]

    @cached_property
    def gzipped(self) -> bytes:
        return gzip.compress(self.body, 6, mtime=0)

    def send(self, req: Request, resp: falcon.Response, *, cache: str) -> None:
        """Answer with it, gzipped if the client accepts that; 304 if the client's copy is still good.

        `cache`: the header Cache-Control.
        """
        is_gzipped = len(self.body) >= WORTH_IT and accepts_gzip(req, resp)
        resp.set_header("Cache-Control", cache)
        if self.modified is not None:
            resp.last_modified = self.modified
        if is_unchanged(req, resp, f"{self.digest}-gzip" if is_gzipped else self.digest, self.modified):
            return
        resp.content_type = self.content_type
        if is_gzipped:
            resp.set_header("Content-Encoding", "gzip")
        resp.data = self.gzipped if is_gzipped else self.body


def accepts_gzip(req: Request, resp: falcon.Response) -> bool:
    """Whether the client does. Caches are told that the answer depends on it."""
    resp.append_header("Vary", "Accept-Encoding")
    return GZIP.search(req.get_header("Accept-Encoding") or "") is not None


def is_unchanged(req: Request, resp: falcon.Response, etag: str, modified: datetime | None = None) -> bool:
    """Whether the client has this copy already: the answer is then a 304. Its ETag decides, or without one the time."""
    resp.etag = etag
    if req.get_header("If-None-Match"):
        unchanged = any(tag in ("*", etag) for tag in req.if_none_match or ())
    else:
        since = _since(req)
        unchanged = (
            modified is not None and since is not None and modified.astimezone(UTC).replace(microsecond=0) <= since
        )
    if unchanged:
        resp.status = falcon.HTTP_304
    return unchanged


def _since(req: Request) -> datetime | None:
    """What If-Modified-Since says; None for what is no time with a zone: it is to be ignored, says RFC 9110."""
    try:
        since = parsedate_to_datetime(req.get_header("If-Modified-Since") or "")
    except (TypeError, ValueError):
        return None
    return since if since.tzinfo else None
