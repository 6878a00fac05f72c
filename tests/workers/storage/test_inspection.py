"""Files that are what they say, and files that are not."""

import hashlib

import pytest

from tests.support.storage import DOCX_TYPE, EXE, HTML, PDF, PNG, SVG, zipped
from workers.storage.inspection import Inspection

DOCX = zipped(**{"[Content_Types]_dot_xml": "<Types/>", "word__document_dot_xml": "<w:document/>"})
ZIP = zipped(a_dot_txt="hello")
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600
DOC = OLE + "WordDocument".encode("utf-16-le")
JPEG, WEBP = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01" + b"\0" * 9, b"RIFF\x24\0\0\0WEBPVP8 " + b"\0" * 9
GOOD = [
    ("image/png", PNG),
    ("image/jpeg", JPEG),
    ("image/webp", WEBP),
    ("application/pdf", PDF),
    ("application/msword", DOC),
    (DOCX_TYPE, DOCX),
    (
        DOCX_TYPE.replace("wordprocessingml.document", "presentationml.presentation"),
        DOCX.replace(b"word/", b"pptt/").replace(b"pptt", b" ppt"),
    ),
    ("text/plain", "Grüße".encode()),
    ("text/plain", "Grüße".encode("latin-1")),
    ("text/plain", "Grüße\n".encode("utf-16")),
    ("text/plain", b""),
    ("text/plain", b"a < b and <3"),
    ("text/csv", b"a,b\n1,2\n"),
    ("text/markdown", b'<p align="center">logo</p>\n# Title'),
    ("text/html", HTML),
    ("text/x-python", b"#!/usr/bin/env python\nprint(1)\n"),
    ("application/json", b'\n {"a": 1}'),
    ("application/x-of-an-operator", b"\0\1\2"),
    ("image/svg+xml", SVG),
]
BAD = [
    ("image/png", EXE),
    ("image/png", b""),
    ("image/png", SVG),
    ("image/png", JPEG),
    ("image/jpeg", HTML),
    ("application/pdf", HTML),
    ("application/pdf", b"%PD"),
    (DOCX_TYPE, ZIP),
    (DOCX_TYPE, DOC),
    (DOCX_TYPE, DOCX[:-30]),
    ("application/msword", OLE),
    ("text/plain", HTML),
    ("text/plain", b"\xef\xbb\xbf \n<SCRIPT src=x>"),
    ("text/plain", HTML.decode().encode("utf-16")),
    ("text/plain", SVG),
    ("text/plain", b'<?xml version="1.0"?><svg/>'),
    ("text/plain", EXE),
    ("text/plain", PNG),
    ("text/plain", b"a" * 300_000 + b"\0"),
    ("text/plain", b"\xff\xfe\0\xd8a\0"),
    ("text/csv", b"<!-- --><script>"),
    ("text/markdown", HTML),
    ("text/javascript", b"<html><script>"),
    ("application/json", HTML),
    ("application/json", b"hello"),
    ("application/x-of-an-operator", HTML),
]


def inspected(mime_type, data, step):
    found = Inspection(mime_type)
    for start in range(0, len(data), step):
        found.feed(data[start : start + step])
    return found


@pytest.mark.parametrize("step", [7, 1 << 18])
@pytest.mark.parametrize(("mime_type", "data"), GOOD)
def test_what_is_as_announced(mime_type, data, step):
    found = inspected(mime_type, data, step)
    assert found.is_as_announced
    assert (found.size, found.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("step", [7, 1 << 18])
@pytest.mark.parametrize(("mime_type", "data"), BAD)
def test_what_is_something_else(mime_type, data, step):
    assert not inspected(mime_type, data, step).is_as_announced
