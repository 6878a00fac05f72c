"""Documents that tests make: ordinary ones, and the ones that an attacker would send."""

import io
import struct
import zipfile
import zlib

from devstack.pdf import pdf


def docx(paragraphs):
    import docx as library

    document, out = library.Document(), io.BytesIO()
    for text in paragraphs:
        document.add_paragraph(text)
    document.save(out)
    return out.getvalue()


def pptx(slides):
    """A presentation of (title, body, notes)."""
    import pptx as library

    presentation, out = library.Presentation(), io.BytesIO()
    for title, body, notes in slides:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, body
        slide.notes_slide.notes_text_frame.text = notes
    presentation.save(out)
    return out.getvalue()


def archive(parts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in parts.items():
            made.writestr(name, data)
    return out.getvalue()


def changed(document, name, data):
    """The document with another part of that name."""
    with zipfile.ZipFile(io.BytesIO(document)) as old:
        parts = {entry: old.read(entry) for entry in old.namelist()}
    return archive({**parts, name: data})


def claiming(document, name, size):
    """The document, whose directory says that this part unpacks to `size` bytes."""
    at = document.rindex(name.encode()) - 46  # the last one is in the directory at the end
    assert document[at : at + 4] == b"PK\x01\x02"
    return document[: at + 24] + struct.pack("<I", size) + document[at + 28 :]


def locked(document):
    """The document, with all its parts said to be encrypted."""
    at = -1
    data = bytearray(document)
    while (at := document.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 8] |= 1
    return bytes(data)


def words_part(text, *, head=b""):
    body = f'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>{text}</w:body></w:document>'
    return b'<?xml version="1.0"?>' + head + body.encode()


LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + at, b"&%c;" % (97 + at) * 10) for at in range(9))
    + b"]>"
)
XXE = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
PAINT = b"q 612 0 0 842 0 0 cm /I1 Do Q"


def hostile():
    """name -> (content, declared type, the codes with which it may end)."""
    return {**archives(), **office_documents(), **pdfs(), **others()}


def archives():
    word, part = docx(["Hello."]), "word/document.xml"
    many = {part: b"<x/>", **{f"{number}": b"" for number in range(10_001)}}
    refused, broken, unsupported = {"archive_refused"}, {"broken_file"}, {"unsupported_type"}
    return {
        "zip bomb by ratio": (changed(word, "word/media/a.bin", b"0" * 64_000_000), None, refused),
        "zip bomb by claims of 4 GB": (claiming(word, part, 0xFFFFFFF0), None, refused),
        "zip bomb by claims of 2 GB": (claiming(word, part, 0x7FFFFFFF), None, refused),
        "zip with a smaller claim": (claiming(word, part, 10), None, broken),
        "zip bomb by entries": (archive(many), None, refused),
        "zip bomb within an archive": (archive({"a.zip": archive({"b": b"0" * 10_000_000})}), None, unsupported),
        "zip that is no document": (archive({"evil.txt": b"text"}), None, unsupported),
        "zip that is cut off": (word[: len(word) // 2], None, broken),
        "zip of names only": (archive({part: b"", "[Content_Types].xml": b""}), None, broken),
        "docx with a password": (locked(word), None, {"encrypted"}),
    }


def office_documents():
    word, part = docx(["Hello."]), "word/document.xml"
    entity, unsafe = "<w:p><w:r><w:t>&a;</w:t></w:r></w:p>", {"unsafe_xml"}
    wide = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'.encode("utf-16")
    deep = words_part("<w:p>" * 100_000 + "</w:p>" * 100_000)
    slides = pptx([("a", "b", "c")])
    return {
        "docx with billion laughs": (
            changed(word, part, words_part(entity.replace("a", "j"), head=LAUGHS)),
            None,
            unsafe,
        ),
        "docx with an external entity": (changed(word, part, words_part(entity, head=XXE)), None, unsafe),
        "docx with an entity in UTF-16": (changed(word, part, wide), None, unsafe),
        "docx with an entity in its relations": (changed(word, "_rels/.rels", XXE + b"<x>&a;</x>"), None, unsafe),
        "docx that is too deep": (changed(word, part, deep), None, {"broken_file", "too_much_memory"}),
        "docx without words": (docx([""]), None, {"no_text"}),
        "pptx with billion laughs": (changed(slides, "ppt/slides/slide1.xml", LAUGHS + b"<x>&j;</x>"), None, unsafe),
    }


def pdfs():
    broken = {"broken_file"}
    giant = pdf([""], content=zlib.compress(PAINT), resources=b"/XObject<</I1 6 0 R>>").replace(
        b"xref\n",
        b"6 0 obj\n<</Type/XObject/Subtype/Image/Width 100000/Height 100000/ColorSpace/DeviceRGB/BitsPerComponent 8"
        b"/Filter/FlateDecode/Length 2000000000>>stream\nx\nendstream\nendobj\nxref\n",
        1,
    )
    many = pdf([""], count=100_000).replace(b"[4 0 R]", b"[" + b"4 0 R " * 100_000 + b"]")
    bomb = pdf([""], content=zlib.compress(b"BT ET " * 5_000_000))
    return {
        "pdf with a password": (pdf(["secret"], encrypt=True), None, {"encrypted"}),
        "pdf that is cut off": (pdf(["text"] * 20)[:700], None, broken | {"no_text"}),
        "pdf of nothing but its mark": (b"%PDF-1.7\n", None, broken),
        "pdf of noise": (b"%PDF-1.7\n" + bytes(range(256)) * 1000, None, broken),
        "pdf of 100,000 pages": (many, None, {"too_many_pages"}),
        "pdf with a giant image that claims 2 GB": (giant, None, broken | {"no_text"}),
        "pdf with a bomb as a page": (bomb, None, {"no_text", "reader_failed", "too_much_memory", "too_slow"}),
    }


def others():
    zeros = b"\x00" * (1 << 20)
    unsupported, bad, nothing = {"unsupported_type"}, {"bad_encoding"}, {"no_text"}
    return {
        "old word": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + zeros, "application/msword", unsupported),
        "rich text": (rb"{\rtf1 Hello}", "text/plain", unsupported),
        "program called text": (b"MZ\x90\x00\x03" + zeros, "text/plain", unsupported),
        "picture called pdf": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + zeros, "application/pdf", unsupported),
        "empty": (b"", "text/plain", nothing),
        "only spaces": (b" \n\t" * 10_000, "text/plain", nothing),
        "only control characters": (b"\x01\x02\x1b" * 100, "text/plain", nothing),
        "utf-8 with a bad byte": ("Grüße aus Köln. ".encode() * 100 + b"\xff\xfe\xff", "text/plain", bad),
        "utf-8 that ends in the middle": (("ä" * 100).encode()[:-1], "text/plain", bad),
        "utf-16 that ends in the middle": ("Hello".encode("utf-16")[:-1], "text/plain", bad),
        "zeros after a text": (b"a" * 5000 + zeros + b"\xff", "text/plain", bad),
        "html without words": (b"<html><script>alert(1)</script>", "text/html", nothing),
        "html of 100,000 elements in each other": (b"<div>" * 100_000 + b"x", "text/html", {"broken_file"}),
    }


def endless_line(size):
    """One line without a space."""
    return b"0123456789abcdef" * (size // 16)
