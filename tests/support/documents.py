"""Documents that tests make: ordinary ones, and the ones that an attacker would send."""

import io
import struct
import zipfile
import zlib


def pdf(pages, *, encrypt=False, count=None, content=None, resources=b""):
    """A PDF with these texts, a page for each. `content`: instead of a text, the compressed content of every page."""
    out, offsets = io.BytesIO(), []

    def add(body):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (len(offsets), body))

    out.write(b"%PDF-1.4\n")
    kids = b" ".join(b"%d 0 R" % (4 + 2 * at) for at in range(len(pages)))
    add(b"<</Type/Catalog/Pages 2 0 R>>")
    add(b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, len(pages) if count is None else count))
    add(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for at, text in enumerate(pages):
        lines = text.replace("\\", "").replace("(", "").replace(")", "").encode("latin-1", "replace").split(b"\n")
        data = content or zlib.compress(
            b"BT /F1 10 Tf 12 TL 40 800 Td " + b" ".join(b"(%b) Tj T*" % line for line in lines) + b" ET"
        )
        box = b"/MediaBox[0 0 612 842]/Resources<</Font<</F1 3 0 R>>%b>>" % resources
        add(b"<</Type/Page/Parent 2 0 R%b/Contents %d 0 R>>" % (box, 5 + 2 * at))
        add(b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(data), data))
    if encrypt:
        add(b"<</Filter/Standard/V 2/R 3/Length 128/P -4/O<%b>/U<%b>>>" % (b"41" * 32, b"42" * 32))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    more = b"/Encrypt %d 0 R/ID[<%b><%b>]" % (len(offsets), b"41" * 16, b"41" * 16) if encrypt else b""
    out.write(b"trailer<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF" % (len(offsets) + 1, more, start))
    return out.getvalue()


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
IMAGE = b"/XObject<</I1 <</Type/XObject>>>>"


def hostile():
    """name -> (content, declared type, the codes with which it may end)."""
    word = docx(["Hello."])
    entity = "<w:p><w:r><w:t>&a;</w:t></w:r></w:p>"
    document = "word/document.xml"
    zeros = b"\x00" * (1 << 20)
    return {
        "zip bomb by ratio": (changed(word, "word/media/a.bin", b"0" * 64_000_000), None, {"archive_refused"}),
        "zip bomb by claims": (claiming(word, document, 0xFFFFFFF0), None, {"archive_refused"}),
        "zip with a smaller claim": (claiming(word, document, 10), None, {"broken_file"}),
        "zip bomb by entries": (archive({"word/document.xml": b"<x/>", **{f"{n}": b"" for n in range(10_001)}}), None,
                                {"archive_refused"}),
        "zip bomb within an archive": (archive({"a.zip": archive({"b": b"0" * 10_000_000})}), None, {"unsupported_type"}),
        "zip that is no document": (archive({"evil.txt": b"text"}), None, {"unsupported_type"}),
        "zip that is cut off": (word[: len(word) // 2], None, {"broken_file"}),
        "zip of names only": (archive({document: b"", "[Content_Types].xml": b""}), None, {"broken_file"}),
        "docx with a password": (locked(word), None, {"encrypted"}),
        "docx with billion laughs": (changed(word, document, words_part(entity.replace("&a;", "&j;"), head=LAUGHS)), None,
                                     {"unsafe_xml"}),
        "docx with an external entity": (changed(word, document, words_part(entity, head=XXE)), None, {"unsafe_xml"}),
        "docx with an entity in UTF-16": (
            changed(word, document, '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'.encode("utf-16")),
            None, {"unsafe_xml"}),
        "docx with an entity in its relations": (changed(word, "_rels/.rels", XXE + b"<x>&a;</x>"), None, {"unsafe_xml"}),
        "docx that is too deep": (
            changed(word, document, words_part("<w:p>" * 100_000 + "</w:p>" * 100_000)), None, {"broken_file", "too_much_memory"}),
        "docx without words": (docx([""]), None, {"no_text"}),
        "pptx with billion laughs": (changed(pptx([("a", "b", "c")]), "ppt/slides/slide1.xml", LAUGHS + b"<x>&j;</x>"), None,
                                     {"unsafe_xml"}),
        "pdf with a password": (pdf(["secret"], encrypt=True), None, {"encrypted"}),
        "pdf that is cut off": (pdf(["text"] * 20)[:700], None, {"broken_file", "no_text"}),
        "pdf of nothing but its mark": (b"%PDF-1.7\n", None, {"broken_file"}),
        "pdf of noise": (b"%PDF-1.7\n" + bytes(range(256)) * 1000, None, {"broken_file"}),
        "pdf of 100,000 pages": (pdf([""] * 100_000), None, {"too_many_pages"}),
        "pdf that claims 2,000,000,000 pages": (pdf(["text"], count=2_000_000_000), None, {"too_many_pages", "broken_file"}),
        "pdf with a giant image": (
            pdf([""], content=zlib.compress(PAINT), resources=b"/XObject<</I1 6 0 R>>").replace(
                b"xref\n", b"6 0 obj\n<</Type/XObject/Subtype/Image/Width 100000/Height 100000/ColorSpace/DeviceRGB"
                b"/BitsPerComponent 8/Filter/FlateDecode/Length 2000000000>>stream\nx\nendstream\nendobj\nxref\n", 1),
            None, {"no_text", "broken_file"}),
        "pdf with a bomb as a page": (
            pdf([""], content=zlib.compress(b"BT ET " * 50_000_000, 9)), None,
            {"no_text", "reader_failed", "too_much_memory", "too_slow"}),
        "old word": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + zeros, "application/msword", {"unsupported_type"}),
        "rich text": (rb"{\rtf1 Hello}", "text/plain", {"unsupported_type"}),
        "program called text": (b"MZ\x90\x00\x03" + zeros, "text/plain", {"unsupported_type"}),
        "picture called pdf": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + zeros, "application/pdf", {"unsupported_type"}),
        "empty": (b"", "text/plain", {"no_text"}),
        "only spaces": (b" \n\t" * 10_000, "text/plain", {"no_text"}),
        "only control characters": (b"\x01\x02\x1b" * 100, "text/plain", {"no_text"}),
        "utf-8 with a bad byte": ("Grüße aus Köln, schöne Wörter. ".encode() * 100 + b"\xff\xfe\xff", "text/plain",
                                  {"bad_encoding"}),
        "utf-8 that ends in the middle": (("ä" * 100).encode()[:-1], "text/plain", {"bad_encoding"}),
        "utf-16 that ends in the middle": ("Hello".encode("utf-16")[:-1], "text/plain", {"bad_encoding"}),
        "zeros after a text": (b"a" * 5000 + zeros + b"\xff", "text/plain", {"bad_encoding"}),
        "html without words": (b"<html><script>alert(1)</script>", "text/html", {"no_text"}),
    }


def endless_line(size):
    """One line without a space."""
    return b"0123456789abcdef" * (size // 16)
