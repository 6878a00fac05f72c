"""Chunks: parts of a text that end where a meaning ends, of a limited number of tokens, each repeating the end of the last."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from workers.vector_stores.extraction.failures import Unreadable

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter

MODEL = "gpt-4o"  # whose tokens are counted; its table is in the library
WINDOW = 65_536  # characters that are cut at once, however long the text or a line of it is
LARGEST_TEXT = 64 * 1024 * 1024  # characters of one file
# What no text needs: control characters, among them NUL, which Postgres does not store, and halves of surrogate pairs.
_UNWANTED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")

# Runs of white space that are longer than any layout needs: they say nothing, and the splitter takes seconds for them.
_SPACE = re.compile(r"\s{64,}")


class Chunk(NamedTuple):
    """`page`: on which it begins; None in a file without pages."""

    text: str
    page: int | None


def chunks(blocks: Iterable[tuple[str, int | None]], size: int, overlap: int) -> Iterator[Chunk]:
    """Cut the text of the blocks, in their order. `size`, `overlap`: tokens. The same text always gives the same chunks.

    Only a window of the text is in memory. Its last chunk is cut again, together with what follows. Unreadable
    (`too_much_text`, `no_text`).
    """
    window, total, has_any = _Window(size, overlap), 0, False
    for text, page in _pieces(blocks):
        total += len(text)
        if total > LARGEST_TEXT:
            raise Unreadable(
                "too_much_text", f"The file has more than {LARGEST_TEXT // 1024 // 1024} million characters of text."
            )
        window.add(text, page)
        if window.length >= WINDOW:
            for chunk in window.cut(is_last=False):
                has_any = True
                yield chunk
    for chunk in window.cut(is_last=True):
        has_any = True
        yield chunk
    if not has_any:
        raise Unreadable("no_text")


def _pieces(blocks: Iterable[tuple[str, int | None]]) -> Iterator[tuple[str, int | None]]:
    """The blocks, none longer than a window; a page ends with a line's end."""
    last: int | None = None
    for raw, page in blocks:
        text = _SPACE.sub(_shorter, _UNWANTED.sub("", raw.replace("\r\n", "\n")))
        if page != last and last is not None:
            text = "\n\n" + text
        last = page
        for start in range(0, len(text), WINDOW):
            yield text[start : start + WINDOW], page


def _shorter(space: re.Match[str]) -> str:
    return "\n\n" if "\n" in space[0] else "    "


class _Window:
    """The text that is not cut yet, and the pages on which its parts are."""

    def __init__(self, size: int, overlap: int) -> None:
        self.size, self.overlap = size, overlap
        self.parts: list[str] = []
        self.starts: list[int] = []
        self.pages: list[int | None] = []
        self.length = 0

    def add(self, text: str, page: int | None) -> None:
        if not self.pages or self.pages[-1] != page:
            self.starts.append(self.length)
            self.pages.append(page)
        self.parts.append(text)
        self.length += len(text)

    @cached_property
    def splitter(self) -> "TextSplitter":
        from semantic_text_splitter import TextSplitter

        return TextSplitter.from_tiktoken_model(MODEL, self.size, self.overlap)

    def cut(self, *, is_last: bool) -> Iterator[Chunk]:
        text = "".join(self.parts)
        found = self.splitter.chunk_indices(text) if text.strip() else []
        kept = found if is_last else found[:-1]
        for start, chunk in kept:
            yield Chunk(chunk, self.pages[max(0, bisect_right(self.starts, start) - 1)])
        rest = len(text) if is_last or not found else found[-1][0]
        self._drop(text, rest)

    def _drop(self, text: str, number: int) -> None:
        """Forget so many characters at the beginning."""
        at = max(0, bisect_right(self.starts, number) - 1)
        self.starts = [max(0, start - number) for start in self.starts[at:]]
        self.pages = self.pages[at:]
        self.parts, self.length = [text[number:]], len(text) - number
