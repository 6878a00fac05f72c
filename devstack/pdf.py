"""A writer of small PDF files, for tests and benchmarks."""

import io
import textwrap
import zlib


def pdf(
    pages: list[str], *, encrypt: bool = False, count: int | None = None, content: bytes = b"", resources: bytes = b""
) -> bytes:
    """A PDF with these texts, a page for each. `content`: instead of a text, the compressed content
    of every page. `encrypt`: it claims to be. `count`: how many pages it claims to have."""
    out, offsets = io.BytesIO(), list[int]()

    def add(body: bytes) -> None:
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (len(offsets), body))

    out.write(b"%PDF-1.4\n")
    kids = b" ".join(b"%d 0 R" % (4 + 2 * at) for at in range(len(pages)))
    add(b"<</Type/Catalog/Pages 2 0 R>>")
    add(b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, len(pages) if count is None else count))
    add(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for at, text in enumerate(pages):
        plain = text.replace("\\", "").replace("(", "").replace(")", "").encode("latin-1", "replace").decode("latin-1")
        lines = [line.encode("latin-1") for part in plain.split("\n") for line in textwrap.wrap(part, 100) or [""]]
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
