"""/docs: the API reference. The page and its settings are ours; Scalar renders it, served from the package offapi."""

import gzip
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import falcon

from edge.endpoint import undocumented
from edge.rendered import accepts_gzip, is_unchanged
from edge.request import Request
from models.platform.authorization import PUBLIC
from models.platform.errors import NotFound

# Scalar writes inline styles as it renders; scripts may come from our own origin only.
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
CHUNK = 64 * 1024


def bundle(package: str = "offapi") -> Path:
    """The path of Scalar's script. RuntimeError if the package that contains it is not installed.

    The package is located but not imported: importing it would read nine megabytes into memory.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"The package {package}, which contains the API reference, is not installed.")
    return Path(spec.origin).parent / "scalar.js"


class Asset:
    """A file sent from disk in chunks, plain or gzipped, so that it is never held in memory."""

    def __init__(self, path: Path, content_type: str) -> None:
        self.path, self.content_type = path, content_type
        if not path.is_file():
            raise RuntimeError(f"The file {path} of the API reference is missing.")

    @cached_property
    def digest(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]

    @cached_property
    def plain(self) -> IO[bytes]:
        return self.path.open("rb")

    @cached_property
    def compressed(self) -> IO[bytes]:
        """Compressed on first use, into an unnamed temporary file that the system removes when the process ends."""
        file = tempfile.TemporaryFile(prefix="longshore-")  # noqa: SIM115  (stays open as long as the process)
        with self.path.open("rb") as source, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0) as target:
            while block := source.read(CHUNK):
                target.write(block)
                time.sleep(0)  # let other greenlets run
        file.flush()
        return file


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The whole file. Several readers may share it: pread leaves its position alone."""
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

    @undocumented(action=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> None:
        send(self.page, req, resp)

    @undocumented(action=PUBLIC)
    def on_get_asset(self, req: Request, resp: falcon.Response, name: str) -> None:
        if name not in self.assets:
            raise NotFound()
        send(self.assets[name], req, resp)


def send(asset: Asset, req: Request, resp: falcon.Response) -> None:
    """Answer with the file, gzipped if the client accepts that; 304 if the client's copy is still good."""
    gzipped = accepts_gzip(req, resp)
    resp.set_header("Content-Security-Policy", POLICY)
    resp.set_header("Cache-Control", "public, max-age=3600")
    if is_unchanged(req, resp, f"{asset.digest}-gzip" if gzipped else asset.digest):
        return
    resp.content_type = asset.content_type
    if gzipped:
        resp.set_header("Content-Encoding", "gzip")
    file = asset.compressed if gzipped else asset.plain
    resp.content_length = os.fstat(file.fileno()).st_size
    if req.method != "HEAD":
        resp.stream = chunks(file)
