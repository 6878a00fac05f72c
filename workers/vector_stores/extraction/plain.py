"""Text, code, Markdown, CSV and JSON: read as they are, in whatever encoding they turn out to be."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from workers.vector_stores.extraction.failures import Unreadable

PIECE = 65_536  # bytes that are read at once
SAMPLE = 32_768  # bytes before and after the first that is not UTF-8, from which the encoding is told
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def read(file: BinaryIO) -> Iterator[tuple[str, int | None]]:
    """The text in pieces. Unreadable (`bad_encoding`)."""
    yield from ((text, None) for text in decoded(file, encoding(file)))


def decoded(file: BinaryIO, name: str) -> Iterator[str]:
    file.seek(0)
    decoder = codecs.getincrementaldecoder(name)()
    try:
        while data := file.read(PIECE):
            yield decoder.decode(data)
        yield decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise Unreadable("bad_encoding", f"The text is not {name} throughout.") from error


def encoding(file: BinaryIO) -> str:
    """The name of the encoding: by its mark, else UTF-8 if all of it is, else what the bytes look like."""
    head = file.read(4)
    if head.startswith(UTF32):
        return "utf-32"
    for mark, name in BOMS.items():
        if head.startswith(mark):
            return name
    at = _first_bad(file)
    return "utf-8" if at is None else _guess(file, at)


def _first_bad(file: BinaryIO) -> int | None:
    """The position of the first bytes that are not UTF-8, more or less."""
    file.seek(0)
    decoder, at = codecs.getincrementaldecoder("utf-8")(), 0
    try:
        while data := file.read(PIECE):
            decoder.decode(data)
            at += len(data)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return at + error.start
    return None


def _guess(file: BinaryIO, at: int) -> str:
    file.seek(max(0, at - SAMPLE))
    sample = file.read(2 * SAMPLE)
    text = sample.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    if sum(character > "\x7f" for character in text) - bad > bad:
        raise Unreadable("bad_encoding", f"The text is UTF-8, but not at byte {at}.")
    import charset_normalizer

    found = charset_normalizer.from_bytes(sample).best()
    if found is None or b"\x00" in sample:
        raise Unreadable("bad_encoding")
    return found.encoding
