"""What a file really is: its size, its SHA-256, and whether its content is of the type that was announced.

One pass over the bytes, with a bounded memory. Archives and documents are not opened: whoever reads them does that in a
place where it may fail.
"""

import codecs
import hashlib
import re
from dataclasses import dataclass, field
from functools import cache

import puremagic

HEAD = 4096  # bytes that say what a file is
SURE = 0.2  # of puremagic, from 0 to 1
TEXT_TYPES = {
    *("application/json", "application/xml", "application/yaml", "application/javascript", "application/typescript"),
    *("application/x-sh", "application/x-python", "application/x-ndjson", "application/sql", "application/toml"),
}
# Bytes that texts do not have, in whatever encoding: the standard "MIME Sniffing", 3.
BINARY = bytes([*range(9), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)])
BINARY_TEXT = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
BOMS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
# How pages and drawings begin that a browser would run: the same, 7.1. What else may stand in front of a tag is left out.
_DOCUMENT = "!doctype html|html|head|body|script|iframe|svg|[?]xml"
PAGE = re.compile(rf"<(?:{_DOCUMENT}|h1|div|font|table|a|style|title|b|br|p|!--)(?:[\s>/]|$|--)", re.IGNORECASE)
DOCUMENT = re.compile(rf"<(?:{_DOCUMENT})(?:[\s>/]|$)", re.IGNORECASE)
JSON_START = re.compile(r"[\[{\"0-9tfn-]")
# What must be somewhere in files that begin as many others do.
OFFICE = "application/vnd.openxmlformats-officedocument"
MARKS = {
    f"{OFFICE}.wordprocessingml.document": (b"[Content_Types].xml", b"word/", b"PK\x05\x06"),
    f"{OFFICE}.presentationml.presentation": (b"[Content_Types].xml", b"ppt/", b"PK\x05\x06"),
    f"{OFFICE}.spreadsheetml.sheet": (b"[Content_Types].xml", b"xl/", b"PK\x05\x06"),
    "application/msword": ("WordDocument".encode("utf-16-le"),),
}


@dataclass
class Inspection:
    """`feed` it all bytes of a file that was announced as `mime_type`; then it says what they are."""

    mime_type: str
    size: int = 0
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _head: bytes = b""
    _is_text: bool = True
    _decoder: codecs.IncrementalDecoder | None = None
    _tail: bytes = b""
    _missing: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._missing = set(MARKS.get(self.mime_type, ()))

    def feed(self, chunk: bytes) -> None:
        if not self.size:
            self._decoder = next(
                (codecs.getincrementaldecoder(name)() for bom, name in BOMS.items() if chunk.startswith(bom)), None
            )
        self.size += len(chunk)
        self._digest.update(chunk)
        if len(self._head) < HEAD:
            self._head += chunk[: HEAD - len(self._head)]
        if self._is_text and is_text(self.mime_type):
            self._is_text = self._reads_as_text(chunk)
        if self._missing:
            seen = self._tail + chunk
            self._missing -= {mark for mark in self._missing if mark in seen}
            self._tail = seen[-64:]

    def _reads_as_text(self, chunk: bytes) -> bool:
        if self._decoder is None:
            return len(chunk.translate(None, BINARY)) == len(chunk)  # much faster than a search
        try:
            return BINARY_TEXT.search(self._decoder.decode(chunk)) is None
        except UnicodeDecodeError:
            return False

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def is_as_announced(self) -> bool:
        """Whether the content can be of the announced type, and is no page or drawing under another name."""
        if is_text(self.mime_type):
            return self._is_text and _is_such_text(self.mime_type, self._start())
        if self.mime_type != "image/svg+xml" and PAGE.match(self._start()):
            return False
        if self.mime_type not in _known_types():
            return True  # nothing is known of it, and the operator has allowed it
        return self.mime_type in _types_of(self._head) and not self._missing

    def _start(self) -> str:
        encoding = next((name for bom, name in BOMS.items() if self._head.startswith(bom)), "utf-8")
        return self._head.decode(encoding, "replace").lstrip("\ufeff \t\n\r\f")


def is_text(mime_type: str) -> bool:
    return mime_type.startswith("text/") or mime_type in TEXT_TYPES


def _is_such_text(mime_type: str, start: str) -> bool:
    match mime_type:
        case "text/html":
            return True
        case "application/xml" | "text/xml":
            return not re.search(r"<(?:\w+:)?(?:svg|html)[\s>]", start, re.IGNORECASE)
        case "text/markdown":  # which often begins with some HTML
            return DOCUMENT.match(start) is None
        case "application/json":
            return JSON_START.match(start) is not None
        case _:
            return PAGE.match(start) is None


def _types_of(head: bytes) -> set[str]:
    try:
        return {found.mime_type for found in puremagic.magic_string(head) if found.confidence >= SURE}
    except (puremagic.PureError, ValueError):  # nothing that it knows; no bytes at all
        return set()


@cache
def _known_types() -> frozenset[str]:
    return frozenset(found.mime_type for found in puremagic.magic_header_array if found.mime_type) | MARKS.keys()
