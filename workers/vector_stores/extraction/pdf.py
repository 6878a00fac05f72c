"""PDF: the text of each page. Images are never decoded."""

from collections.abc import Iterator
from typing import BinaryIO

import pypdfium2
import pypdfium2.raw as pdfium

from workers.vector_stores.extraction.failures import Unreadable

MOST_PAGES = 10_000


def read(file: BinaryIO) -> tuple[int, Iterator[tuple[str, int | None]]]:
    """The number of pages, and their texts. Unreadable."""
    try:
        document = pypdfium2.PdfDocument(file)
        pages = len(document)
    except pypdfium2.PdfiumError as error:
        is_locked = getattr(error, "err_code", None) == pdfium.FPDF_ERR_PASSWORD
        raise Unreadable("encrypted" if is_locked else "broken_file") from error
    if pages > MOST_PAGES:
        raise Unreadable("too_many_pages", f"The document has {pages} pages; {MOST_PAGES} are allowed.")
    return pages, _texts(document, pages)


def _texts(document: pypdfium2.PdfDocument, pages: int) -> Iterator[tuple[str, int | None]]:
    for number in range(1, pages + 1):
        try:
            page = document[number - 1]
            text = page.get_textpage()
        except pypdfium2.PdfiumError as error:
            raise Unreadable("broken_file", f"Page {number} of the document is damaged.") from error
        yield text.get_text_bounded(), number
        text.close()
        page.close()
