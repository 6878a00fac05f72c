"""DOCX and PPTX: archives of XML. They are checked before any of it is unpacked or parsed."""

import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO
from xml.parsers import expat

import docx
import lxml.etree
import pptx
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from pptx.exc import PythonPptxError

from workers.vector_stores.extraction.failures import Unreadable

MOST_ENTRIES = 10_000
LARGEST_TOTAL = 512 * 1024 * 1024  # bytes, unpacked, as the archive says: zipfile unpacks no more than that
HIGHEST_RATIO, RATIO_FROM = 200, 16 * 1024 * 1024  # how much smaller than its content a larger archive may be
MOST_PAGES = 10_000
DEEPEST = 20  # groups of shapes within groups
BROKEN = (
    zipfile.BadZipFile,
    lxml.etree.LxmlError,
    PackageNotFoundError,
    PythonPptxError,
    KeyError,
    ValueError,
    AttributeError,
    TypeError,
    IndexError,
    RuntimeError,
    NotImplementedError,
    OSError,
    EOFError,
)


class _Enough(Exception):
    """The root element begins: no document type can follow."""


def check(archive: zipfile.ZipFile) -> None:
    """Unreadable if the archive is a bomb, is encrypted, or has XML with a document type."""
    entries = archive.infolist()
    total, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    is_bomb = total > RATIO_FROM and total > HIGHEST_RATIO * max(1, packed)
    if len(entries) > MOST_ENTRIES or total > LARGEST_TOTAL or is_bomb:
        raise Unreadable("archive_refused")
    if len({entry.filename for entry in entries}) != len(entries):
        raise Unreadable("broken_file", "The document has two parts of the same name.")
    if any(entry.flag_bits & 1 for entry in entries):
        raise Unreadable("encrypted")
    for entry in entries:
        if entry.filename.lower().endswith((".xml", ".rels")):
            with archive.open(entry) as part:
                _require_no_document_type(part)


def _require_no_document_type(part: Any) -> None:
    def refuse(*_: object) -> None:
        raise Unreadable("unsafe_xml")

    def stop(*_: object) -> None:
        raise _Enough

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler, parser.EntityDeclHandler, parser.StartElementHandler = refuse, refuse, stop
    try:
        while data := part.read(8192):
            parser.Parse(data)
        parser.Parse(b"", True)
    except _Enough:
        return
    except expat.ExpatError as error:
        raise Unreadable("broken_file") from error


def words(file: BinaryIO) -> Iterator[tuple[str, int | None]]:
    """The paragraphs and tables of a DOCX, in their order."""
    try:
        document = docx.Document(file)
        for item in document.iter_inner_content():
            if isinstance(item, Table):
                for row in item.rows:
                    yield _cells(cell.text for cell in row.cells), None
            else:
                yield item.text + "\n", None
    except BROKEN as error:
        raise Unreadable("broken_file") from error


def slides(file: BinaryIO) -> tuple[int, Iterator[tuple[str, int | None]]]:
    """The number of slides of a PPTX, and the texts on them, with the speaker's notes. A slide is a page."""
    try:
        found = list(pptx.Presentation(file).slides)
    except BROKEN as error:
        raise Unreadable("broken_file") from error
    if len(found) > MOST_PAGES:
        raise Unreadable("too_many_pages", f"The presentation has {len(found)} slides; {MOST_PAGES} are allowed.")
    return len(found), _slides(found)


def _slides(found: list[Any]) -> Iterator[tuple[str, int | None]]:
    for number, slide in enumerate(found, 1):
        try:
            texts = list(_shapes(slide.shapes))
            if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
                texts.append(slide.notes_slide.notes_text_frame.text)
        except BROKEN as error:
            raise Unreadable("broken_file", f"Slide {number} of the presentation is damaged.") from error
        yield "\n".join(texts) + "\n", number


def _shapes(shapes: Iterable[Any], depth: int = 0) -> Iterator[str]:
    for shape in shapes:
        if depth < DEEPEST and hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes, depth + 1)
        elif shape.has_text_frame:
            yield shape.text_frame.text
        elif getattr(shape, "has_table", False):
            for row in shape.table.rows:
                yield _cells(cell.text for cell in row.cells)


def _cells(texts: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(text.strip() for text in texts)) + "\n"  # a merged cell is there several times
