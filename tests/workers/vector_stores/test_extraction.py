"""Reading files: what is read of ordinary ones, how hostile ones end, and that nothing is left of the child."""

from contextlib import contextmanager

import pytest

from tests.support import documents
from workers.vector_stores.extraction.failures import Unreadable
from workers.vector_stores.extraction.process import reading


@pytest.fixture
def opened(tmp_path):
    """opened(data, declared) reads this content in a child."""

    @contextmanager
    def make(data, declared=None, size=800, overlap=0, checkpoint=lambda: None):
        path = tmp_path / "file"
        path.write_bytes(data)
        with (
            path.open("rb") as file,
            reading(file, declared, size=size, overlap=overlap, checkpoint=checkpoint) as read,
        ):
            yield read

    return make


@pytest.fixture
def texts(opened):
    """texts(data, declared) -> (type, pages, [(text, page)])."""

    def make(data, declared=None, **options):
        with opened(data, declared, **options) as read:
            return read.type, read.pages, list(read.chunks)

    return make


def test_what_is_read_of_each_format(texts):
    assert texts(documents.pdf(["First page", "Second page"])) == (
        "pdf",
        2,
        [("First page\n\nSecond page", 1)],
    )
    assert texts(documents.docx(["One", "Two"]))[::2] == ("docx", [("One\nTwo", None)])
    kind, pages, found = texts(documents.pptx([("Title", "Body", "Said"), ("Next", "More", "")]))
    assert (kind, pages) == ("pptx", 2) and found[0][0].splitlines()[:3] == ["Title", "Body", "Said"]
    page = b"<title>T</title><script>evil()</script><p>One <b>bold</b> word<ul><li>x<li>y</ul><div><p>a</p>b<br>c</div>"
    assert texts(page, "text/html")[2] == [("T\nOne bold word\nx\ny\na\nb\nc", None)]
    for kind in ("text/markdown", "text/csv", "application/json", "text/x-python", None):
        assert texts(b'{"a": [1, 2]}', kind) == ("text", None, [('{"a": [1, 2]}', None)])


HOSTILE = documents.hostile()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_ends_in_its_error(texts, name):
    data, declared, codes = HOSTILE[name]
    with pytest.raises(Unreadable) as caught:
        texts(data, declared)
    assert caught.value.code in codes
