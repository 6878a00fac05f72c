"""/docs: the API reference. The page and its settings are ours; Scalar, which draws it, is served from the package offapi."""

import gzip
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import falcon

from edge.auth import PUBLIC
from edge.endpoint import undocumented
from edge.request import Request
from models.platform.errors import NotFound

# Scalar writes style elements and attributes as it draws; scripts come from files of ours and nowhere else.
DIRECTIVES = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'unsafe-inline'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
POLICY = "; ".join(DIRECTIVES)
GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")
CHUNK = 64 * 1024


def bundle() -> Path:
    """Scalar's file. Found, not imported: `import offapi` would read all of its nine megabytes into memory."""
    found = find_spec("offapi")
    if found is None or found.origin is None:
        raise RuntimeError("The package offapi, which carries the API reference, is not installed.")
    return Path(found.origin).parent / "scalar.js"


class Asset:
    """A file that is sent in pieces from disk, plain or compressed; megabytes are never held in memory."""

    def __init__(self, path: Path, content_type: str) -> None:
        self.path, self.content_type = path, content_type
        if not path.is_file():
            raise RuntimeError(f"{path}, a part of the API reference, is missing.")

    @cached_property
    def digest(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]

    @cached_property
    def plain(self) -> IO[bytes]:
        return self.path.open("rb")

    @cached_property
    def compressed(self) -> IO[bytes]:
        """Made when first asked for; the file has no name, so nothing cleans it up before we end."""
        file = tempfile.TemporaryFile(prefix="longshore-")  # noqa: SIM115  (open as long as we live)
        with self.path.open("rb") as plain, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed:
            while block := plain.read(CHUNK):
                packed.write(block)
                time.sleep(0)  # lets other greenlets run
        file.flush()
        return file


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """From the start, whoever else reads the same open file."""
    offset = 0
    while block := os.pread(file.fileno(), CHUNK, offset):
        yield block
        offset += len(block)


class Reference:
    def __init__(self) -> None:
        static = Path(__file__).parent / "static"
        self.page = Asset(static / "reference.html", "text/html; charset=utf-8")
        self.assets = {
            "reference.js": Asset(static / "reference.js", "text/javascript; charset=utf-8"),
            "scalar.js": Asset(bundle(), "text/javascript; charset=utf-8"),
        }

    @undocumented(guard=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> None:
        send(self.page, req, resp)

    @undocumented(guard=PUBLIC)
    def on_get_asset(self, req: Request, resp: falcon.Response, name: str) -> None:
        if name not in self.assets:
            raise NotFound()
        send(self.assets[name], req, resp)


def send(asset: Asset, req: Request, resp: falcon.Response) -> None:
    packed = GZIP.search(req.get_header("Accept-Encoding") or "") is not None
    resp.etag = f"{asset.digest}-gzip" if packed else asset.digest
    resp.append_header("Vary", "Accept-Encoding")
    resp.set_header("Content-Security-Policy", POLICY)
    resp.set_header("Cache-Control", "public, max-age=3600")
    if any(tag == "*" or tag == resp.etag.strip('"') for tag in req.if_none_match or ()):
        resp.status = falcon.HTTP_304
        return
    resp.content_type = asset.content_type
    if packed:
        resp.set_header("Content-Encoding", "gzip")
    file = asset.compressed if packed else asset.plain
    resp.content_length = os.fstat(file.fileno()).st_size
    if req.method != "HEAD":
        resp.stream = pieces(file)
