"""What a file is, by its content: its name and its declared type say what somebody wrote, not what it holds."""

import zipfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from workers.vector_stores.extraction import plain
from workers.vector_stores.extraction.failures import Unreadable

HEAD = 4096  # bytes in which a type shows itself
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
HTML = (b"<!doctype html", b"<html", b"<head", b"<body")
Blocks = Iterator[tuple[str, int | None]]
BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


class Content(NamedTuple):
    """`blocks`: texts in the order of reading, each with its page, from 1; read as they are asked for. `pages`: how many
    there are. Both None in a file without pages."""

    type: str
    pages: int | None
    blocks: Blocks


def read(file: BinaryIO, declared: str | None) -> Content:
    """The content of a file that can be sought in. `declared`: only tells texts apart. Unreadable."""
    # A reader is imported when it is needed: together they take half a second, and the child of a small text a tenth of it.
    head = file.read(HEAD)
    file.seek(0)
    if b"%PDF-" in head[:1024]:
        from workers.vector_stores.extraction import pdf

        return Content("pdf", *pdf.read(file))
    if head.startswith(b"PK\x03\x04"):
        return _office(file)
    if head.startswith(OLD_OFFICE):
        raise Unreadable(
            "unsupported_type", "Files of old Office versions cannot be indexed. Save it as .docx, .pptx or PDF."
        )
    if head.startswith(b"{\\rtf"):
        raise Unreadable("unsupported_type", "RTF files cannot be indexed. Save it as .docx or PDF.")
    if b"\x00" in head and not head.startswith(BOMS):
        raise Unreadable("unsupported_type", f"Files of the type {_name(head)} cannot be indexed.")
    is_html = declared == "text/html" or head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(HTML)
    if is_html:
        from workers.vector_stores.extraction import markup

        return Content("html", None, markup.read(file))
    return Content("text", None, plain.read(file))


def _office(file: BinaryIO) -> Content:
    from workers.vector_stores.extraction import office

    try:
        with zipfile.ZipFile(file) as archive:
            office.check(archive)
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, RuntimeError) as error:
        raise Unreadable("broken_file") from error
    file.seek(0)
    if "word/document.xml" in names:
        return Content("docx", None, office.words(file))
    if "ppt/presentation.xml" in names:
        return Content("pptx", *office.slides(file))
    raise Unreadable("unsupported_type", "Archives cannot be indexed, and of Office files only .docx and .pptx.")


def _name(head: bytes) -> str:
    import puremagic

    try:
        return puremagic.from_string(head, mime=True) or "application/octet-stream"
    except (puremagic.PureError, ValueError):
        return "application/octet-stream"
