"""HTML: its text, with a line for each block. Scripts and styles are left out; nothing is fetched."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from selectolax.lexbor import LexborHTMLParser, LexborNode

from workers.vector_stores.extraction import plain
from workers.vector_stores.extraction.failures import Unreadable

LARGEST = 64 * 1024 * 1024  # bytes: all of it is in memory at once
UNSEEN = frozenset({"script", "style", "template", "noscript", "iframe", "noembed", "noframes"})
INLINE = frozenset(
    [
        "a",
        "abbr",
        "b",
        "bdi",
        "bdo",
        "big",
        "cite",
        "code",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "ins",
        "kbd",
        "label",
        "mark",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
    ]
)
DEEPEST = 50  # inline elements within inline elements, of which one is taken for a block
DEEPEST_TAGS = 2000  # elements within elements
UNNESTED = frozenset(  # never closed, or mostly not
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "dt",
        "dd",
        "tr",
        "td",
        "th",
        "option",
        "optgroup",
        "thead",
        "tbody",
        "tfoot",
        "colgroup",
        "rp",
        "rt",
    ]
)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,15})")
PIECE = 4096  # texts that are given on at once


def read(file: BinaryIO) -> Iterator[tuple[str, int | None]]:
    """The text. Unreadable."""
    if len(file.read(LARGEST + 1)) > LARGEST:
        raise Unreadable("file_too_large", f"HTML files may have {LARGEST // 1024 // 1024} MB.")
    file.seek(0)
    html = "".join(plain.decoded(file, plain.encoding(file)))
    _require_shallow(html)
    tree = LexborHTMLParser(html)
    if tree.root is None:
        return
    parts: list[str] = []
    for text in _texts(tree.root):
        parts.append(text)
        if len(parts) >= PIECE:
            yield "".join(parts), None
            parts.clear()
    yield "".join(parts), None


def _require_shallow(html: str) -> None:
    """Parsers of HTML take time that grows with the square of the depth. Unreadable."""
    depth = 0
    for match in _TAG.finditer(html):
        if match[2].lower() not in UNNESTED:
            depth += -1 if match[1] else 1
            if depth > DEEPEST_TAGS:
                raise Unreadable("broken_file", f"The elements of the page are nested more than {DEEPEST_TAGS} deep.")


def _texts(root: LexborNode) -> Iterator[str]:
    """The texts in their order, with a line's end between those of different blocks."""
    last: int | None = None
    for node in root.traverse(include_text=True):
        if node.tag == "br":
            yield "\n"
        if node.tag != "-text":
            continue
        text, block = node.text_content or "", _block(node)
        if block is None:
            continue
        if not text.strip():
            yield " "
            continue
        if last is not None and block != last:
            yield "\n"
        last = block
        yield text


def _block(node: LexborNode) -> int | None:
    """Tells the element that has this text as one of its lines. None if nobody sees the text."""
    parent = node.parent
    for _ in range(DEEPEST):
        if parent is None or parent.tag not in INLINE:
            break
        parent = parent.parent
    if parent is None or parent.tag in UNSEEN:
        return None
    return int(parent.mem_id)
