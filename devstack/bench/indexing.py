"""Indexing a document end to end, beside the two things that it cannot do without: its bare text, and bare vectors of it."""

import io
import random
import time
from typing import Any

import httpx
import pypdfium2

from devstack.bench.report import Measure, Row, row
from devstack.bench.tools import Setup, print_rows, sign_in
from devstack.bench.vector_corpus import words
from devstack.pdf import pdf
from workers.gateways.embeddings import embed
from workers.vector_stores.extraction.chunking import chunks
from workers.vector_stores.indexing import BATCH_CHUNKS

PAGES, PAGE_WORDS, ROUNDS = 300, 350, 3
SIZE, OVERLAP = 800, 400  # tokens, as the strategy `auto` has them
SECONDS = 300


def book(seed: int) -> bytes:
    rng = random.Random(seed)
    known = words()
    return pdf([" ".join(rng.choices(known, k=PAGE_WORDS)) for _ in range(PAGES)])


def main() -> None:
    setup = Setup.from_arguments()
    user = sign_in(setup.url)
    with httpx.Client(base_url=setup.url, timeout=60, headers={"Authorization": user["Authorization"]}) as http:
        store = _answer(http.post("/api/v1/vector-stores", json={"name": "bench"}))["id"]
        ours = [end_to_end(http, store, book(number)) for number in range(1, ROUNDS + 1)]
    bare = [alone(book(number)) for number in range(1, ROUNDS + 1)]
    print_rows(list(rows(min(ours), min(bare))))


def rows(ours: tuple[float, int], bare: tuple[float, int]) -> list[Row]:
    """Of the best round: seconds, and the number of chunks."""
    scenario = f"PDF of {PAGES} pages"
    return [
        row(
            scenario,
            "from the upload's begin to its search",
            Measure((ours[0],), "s"),
            Measure((bare[0],), "s", "bare"),
        ),
        row(scenario, "pages", per_second(PAGES, ours), per_second(PAGES, bare), better="higher"),
        row(scenario, "chunks", per_second(ours[1], ours), per_second(bare[1], bare), better="higher"),
    ]


def per_second(number: int, measured: tuple[float, int]) -> Measure:
    return Measure((number / measured[0],), "1/s")


def end_to_end(http: httpx.Client, store: str, data: bytes) -> tuple[float, int]:
    """Upload, verify, attach, index, search."""
    started = time.perf_counter()
    ask = {"filename": "book.pdf", "mime_type": "application/pdf", "size_bytes": len(data)}
    signed = _answer(http.post("/api/v1/storage/objects/upload-url", json=ask))
    httpx.put(signed["upload_url"], content=data, headers=signed["headers"], timeout=60).raise_for_status()
    _answer(http.post(f"/api/v1/storage/objects/{signed['object_id']}/complete"))
    wish = {"file_id": signed["object_id"], "poll": False}
    attached = http.post(f"/api/v1/vector-stores/{store}/files", json=wish)
    row_id = _answer(attached)["openai_file_id"]
    state = "queued"
    while state in ("queued", "running"):
        time.sleep(0.05)
        if time.perf_counter() - started > SECONDS:
            raise SystemExit(f"not indexed within {SECONDS} s")
        state = _answer(http.get(f"/api/v1/runs/{attached.headers['X-Run-Id']}"))["state"]
    if state != "succeeded":
        raise SystemExit(f"the run has {state}: {_answer(http.get(f'/api/v1/vector-stores/{store}/files/{row_id}'))}")
    _answer(http.post(f"/api/v1/vector-stores/{store}/search", json={"query": "what the book says"}))
    seconds = time.perf_counter() - started
    return seconds, sum(1 for _ in chunks(pages_of(data), SIZE, OVERLAP))


def alone(data: bytes) -> tuple[float, int]:
    """The text of the pages, cut without overlap every so many characters, and its vectors. Nothing is stored."""
    started = time.perf_counter()
    text = "\n".join(text for text, _ in pages_of(data))
    width = 4 * SIZE
    parts = [text[at : at + width] for at in range(0, len(text), width // 2)]
    for at in range(0, len(parts), BATCH_CHUNKS):
        embed(parts[at : at + BATCH_CHUNKS])
    return time.perf_counter() - started, len(parts)


def pages_of(data: bytes) -> list[tuple[str, int | None]]:
    with pypdfium2.PdfDocument(io.BytesIO(data)) as document:
        return [(page.get_textpage().get_text_bounded(), at) for at, page in enumerate(document, 1)]


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.status_code >= 300:
        raise SystemExit(f"{response.request.url}: {response.status_code} {response.text[:500]}")
    found: dict[str, Any] = response.json()
    return found


if __name__ == "__main__":
    main()
