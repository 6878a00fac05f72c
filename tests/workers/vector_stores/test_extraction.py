"""Reading files: what is read of ordinary ones, how hostile ones end, and that nothing is left of the child."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import psutil
import pytest

from tests.support import documents
from workers.vector_stores.extraction import chunking, markup, plain
from workers.vector_stores.extraction.failures import Unreadable
from workers.vector_stores.extraction.process import ROOT, reading


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


def test_each_hostile_file_ends_in_its_error(texts, tmp_path):
    # given
    def outcome(number, data, declared):
        path = tmp_path / str(number)
        path.write_bytes(data)
        try:
            with path.open("rb") as file, reading(file, declared, size=800, overlap=0, checkpoint=lambda: None) as read:
                return [text[:50] for text, _ in read.chunks]
        except Unreadable as error:
            return error.code

    # when
    table = documents.hostile()
    with ThreadPoolExecutor(2) as pool:
        ended = {name: pool.submit(outcome, at, *row[:2]) for at, (name, row) in enumerate(table.items())}
    # then
    assert {name: row[2] for name, row in table.items() if ended[name].result() not in row[2]} == {}, ended


def test_what_looks_bad_but_can_be_read_is_read(texts):
    assert texts(documents.pdf(["text"], count=2_000_000_000))[2] == [("text", 1)], "claims 2,000,000,000 pages"
    latin = "Grüße aus Köln, schöne Wörter und ähnliche Übungen. " * 10
    assert texts(latin.encode("latin-1"))[2] == [(latin.strip(), None)]
    cyrillic = "Привет, как дела сегодня? " * 10
    assert texts(cyrillic.encode("cp1251"))[2] == [(cyrillic.strip(), None)]
    for name in ("utf-8-sig", "utf-16", "utf-32"):
        assert texts(cyrillic.encode(name))[2] == [(cyrillic.strip(), None)]


def test_a_line_without_an_end_is_cut_like_any_text(texts):
    line = documents.endless_line(400_000)
    _, _, found = texts(line)
    assert "".join(text for text, _ in found) == line.decode()


def test_chunks_overlap_as_asked_and_know_their_page():
    # given
    words = [f"word{number}" for number in range(6000)]
    pages = [(" ".join(words[start : start + 500]) + "\n", 1 + start // 500) for start in range(0, 6000, 500)]
    # when
    cut = list(chunking.chunks(pages, 100, 50))
    # then
    for chunk in cut:
        first = int(chunk.text.split()[0].removeprefix("word"))
        assert chunk.page == 1 + first // 500
    assert [word for word in words if not any(word in chunk.text.split() for chunk in cut)] == []
    seen = [set(chunk.text.split()) for chunk in cut]
    assert sum(bool(one & two) for one, two in pairwise(seen)) > len(cut) * 0.8
    assert cut == list(chunking.chunks(pages, 100, 50)), "a resumed indexing relies on it"


def test_there_are_limits_to_text_and_html(monkeypatch):
    monkeypatch.setattr(chunking, "LARGEST_TEXT", 1000)
    with pytest.raises(Unreadable, match="million"):
        list(chunking.chunks([("word " * 300, None)], 100, 0))
    monkeypatch.setattr(markup, "LARGEST", 1000)
    with pytest.raises(Unreadable) as caught:
        list(markup.read(io.BytesIO(b"x" * 1001)))
    assert caught.value.code == "file_too_large"
    assert plain.encoding(io.BytesIO("ä".encode() * 100_000)) == "utf-8"


def test_memory_and_time_are_limited(texts, configure):
    configure(index_memory_mb=300)
    with pytest.raises(Unreadable) as caught:
        texts(b"<p>x" * 8_000_000, "text/html")
    assert caught.value.code in ("too_much_memory", "reader_failed")
    configure(index_memory_mb=1024, index_seconds=1)
    with pytest.raises(Unreadable) as caught:
        texts(documents.endless_line(40_000_000))
    assert caught.value.code == "too_slow"


def children():
    """The children that still run: one that has ended, and that nobody has waited for yet, has no command line."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one, too
            if "-I" in child.cmdline():
                found.append(child)
    return found


class Stop(Exception):
    pass


def test_the_child_is_gone_when_nobody_listens_any_more(opened):
    # given
    calls = []

    def checkpoint():
        calls.append(children())
        if len(calls) > 3:
            raise Stop

    # when
    with pytest.raises(Stop), opened(documents.endless_line(40_000_000), checkpoint=checkpoint) as read:
        list(read.chunks)
    # then
    assert any(calls) and not children()
    with pytest.raises(ZeroDivisionError), opened(documents.endless_line(40_000_000)) as read:
        next(read.chunks)
        raise ZeroDivisionError
    assert not children()


PROBE = """
import json, os, socket, sys
from workers.vector_stores.extraction import confinement
confinement.die_with(os.getppid())
confinement.limit(memory=1 << 30, seconds=10)
has = confinement.confine([])
def tried(what):
    try: what()
    except OSError as error: return type(error).__name__
    return "ok"
print(json.dumps({
    "has": has, "environment": sorted(os.environ),
    "read": tried(lambda: open("/etc/passwd").read()), "parent": tried(lambda: open(f"/proc/{os.getppid()}/environ").read()),
    "write": tried(lambda: open("new", "w")), "connect": tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)),
}))
"""


def test_the_child_reaches_neither_files_nor_the_network(tmp_path):
    # given
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        command = [sys.executable, "-I", "-c", f"import sys; sys.path.append({str(ROOT)!r})" + PROBE, port]
        # when
        said = subprocess.run(command, env={"LC_ALL": "C.UTF-8"}, cwd=tmp_path, capture_output=True, check=True).stdout
    # then
    told = json.loads(said)
    assert set(told["environment"]) <= {"LC_ALL", "LC_CTYPE"}
    if "files" in told["has"]:
        assert (told["read"], told["parent"], told["write"]) == ("PermissionError",) * 3
    if "network" in told["has"]:
        assert told["connect"] != "ok"
    if sys.platform == "linux" and os.environ.get("CI") != "true":
        assert told["has"] == ["network", "files"], "this machine has both"


def test_the_child_dies_with_its_worker(tmp_path):
    # given
    path = tmp_path / "long"
    path.write_bytes(documents.endless_line(60_000_000))
    code = (
        "import sys, time; from workers.vector_stores.extraction.process import reading\n"
        f"with open({str(path)!r}, 'rb') as f, reading(f, None, size=800, overlap=0, checkpoint=lambda: None) as r:\n"
        "    next(r.chunks); print('reading', flush=True); time.sleep(60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert worker.stdout.readline() == b"reading\n"
        [child] = psutil.Process(worker.pid).children()
        # when
        worker.kill()
        worker.wait()
        # then
        psutil.wait_procs([child], timeout=30)
        assert not child.is_running()
    finally:
        worker.kill()
        worker.wait()
