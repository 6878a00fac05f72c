"""Search among 100,000 chunks of a tenant: how fast, how exact, and what others change about it. Next to LanceDB."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from devstack.bench import vector_corpus as corpora
from devstack.bench.peers import environment
from devstack.bench.report import Measure, Row, Target, ms, row
from devstack.bench.tools import Setup, print_rows
from devstack.bench.usage import MB
from devstack.bench.vector_corpus import CHUNKS_PER_FILE, Corpus
from devstack.stack import ROOT
from models.auth.tenants import Tenant
from models.platform.database import database, release, transaction
from models.platform.ids import uuid7
from models.vector_stores import chunks, editions, indexes, removal, tables
from models.vector_stores.chunks import Chunk
from models.vector_stores.files import COMPLETED, VectorStoreFile
from models.vector_stores.search import search
from models.vector_stores.stores import VectorStore

CHUNKS = int(os.environ.get("BENCH_VECTOR_CHUNKS", "100000"))
TENANTS = int(os.environ.get("BENCH_VECTOR_TENANTS", "1"))  # 8 takes an hour
QUERIES, WARM_UP, FOUND = 200, 20, 10
INDEX_EVERY = 60.0  # seconds, as the scheduler starts the job
MEANING = {"ranker": "none"}
SPEED, RECALL = Target("<=", (15, 60)), Target(">=", (0.95,))
Answers = tuple[
    list[float], list[list[int]]
]  # of each query: its seconds, and the numbers of the texts that were found


@dataclass(frozen=True)
class Loaded:
    """`first`: the number of the first text of each file, by the id of its row."""

    store: VectorStore
    first: dict[Any, int]
    seconds: float


def load(corpus: Corpus) -> Loaded:
    """A tenant's store with the whole corpus, indexed as the product does it."""
    tenant = Tenant.create(slug=uuid7().hex, name="Bench")
    columns = {"tenant_id": tenant.id, "status": COMPLETED}
    store = VectorStore.create(name="bench", engine="pgvector", **columns)
    began, indexed, first = time.perf_counter(), time.perf_counter(), {}
    for number in range(corpus.files):
        first[add_file(store, corpus, number).id] = number * CHUNKS_PER_FILE
        if time.perf_counter() - indexed > INDEX_EVERY:
            keep_indexed(store)
            indexed = time.perf_counter()
    keep_indexed(store)
    return Loaded(VectorStore.get_by_id(store.id), first, time.perf_counter() - began)


def keep_indexed(store: VectorStore) -> None:
    if store.id in indexes.due():
        indexes.tend(store.id)


def add_file(store: VectorStore, corpus: Corpus, number: int) -> VectorStoreFile:
    file = VectorStoreFile.create(
        tenant_id=store.tenant_id,
        vector_store_id=store.id,
        file_id=f"file-{uuid7().hex}",
        filename=f"{number}.txt",
        status=COMPLETED,
        attributes={"shard": corpora.shard(number)},
    )
    texts = range(number * CHUNKS_PER_FILE, (number + 1) * CHUNKS_PER_FILE)
    chunks.stage(file, 1, 0, [Chunk(corpus.texts[at], 130, None, corpus.vectors[at].tobytes()) for at in texts])
    with transaction():
        editions.publish(file, 1)
    return file


def ask(loaded: Loaded, corpus: Corpus, text: Callable[[int], str], **options: Any) -> Answers:
    """Ask each query once, one after another."""
    times, answers = [], []
    for turn in range(-WARM_UP, len(corpus.queries)):
        number = turn % len(corpus.queries)
        began = time.perf_counter()
        hits = search(loaded.store, vector=corpus.query_vectors[number].tobytes(), text=text(number), **options)
        release()
        if turn >= 0:
            times.append(time.perf_counter() - began)
            answers.append([loaded.first[hit.file.id] + hit.position for hit in hits if hit.file.id in loaded.first])
    return times, answers


def exact(corpus: Corpus, shard: int | None = None) -> list[set[int]]:
    """The nearest texts of each query, by comparing all of them in float32."""
    import numpy as np

    likeness = corpus.query_vectors @ corpus.vectors.T
    if shard is not None:
        shards = np.array([corpora.shard(at // CHUNKS_PER_FILE) for at in range(len(corpus.texts))])
        likeness[:, shards != shard] = -2
    return [set(map(int, nearest)) for nearest in np.argsort(-likeness, axis=1)[:, :FOUND]]


def recall(answers: list[list[int]], expected: list[set[int]]) -> Measure:
    found = [len(set(answer) & best) / len(best) for answer, best in zip(answers, expected, strict=True)]
    return Measure((sum(found) / len(found),), "")


def postgres_memory() -> float:
    """Megabytes of all Postgres processes, what they share counted once."""
    pid = database.execute_sql("select pg_backend_pid()").fetchone()[0]
    server = psutil.Process(psutil.Process(pid).ppid())
    processes = [server, *server.children(recursive=True)]
    return sum(float(process.memory_full_info().pss) for process in processes) / MB


def on_disk(store: VectorStore) -> float:
    size = database.execute_sql("select pg_total_relation_size(%s)", (tables.table_of(store),))
    return float(size.fetchone()[0]) / MB


def peer(corpus: Corpus, folder: Path) -> dict[str, Any]:
    """What LanceDB measures of the same texts, vectors and queries. PeerUnavailable."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", corpus.vectors)
    np.save(folder / "queries.npy", corpus.query_vectors)
    shards = [corpora.shard(at // CHUNKS_PER_FILE) for at in range(len(corpus.texts))]
    given = {"texts": corpus.texts, "queries": corpus.queries, "shards": shards, "found": FOUND, "warm_up": WARM_UP}
    (folder / "texts.json").write_text(json.dumps(given))
    command = [str(environment.python("vectors")), "-m", "devstack.bench.peers.vectors.lance", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise environment.PeerUnavailable(f"LanceDB failed: {done.stderr.strip()[-500:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def while_writing(loaded: Loaded, corpus: Corpus) -> Answers:
    """The same searches while files are written, published anew and removed all the time."""
    stopped = threading.Event()

    def write() -> None:
        file = add_file(loaded.store, corpus, 0)
        while not stopped.is_set():
            again(file, corpus)
        release()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            answers = ask(loaded, corpus, lambda number: corpus.queries[number], limit=FOUND)
        finally:
            stopped.set()
        writing.result()
    return answers


def again(file: VectorStoreFile, corpus: Corpus) -> None:
    """Index the file anew."""
    generation = editions.next_generation(file.id)
    texts = range(CHUNKS_PER_FILE)
    chunks.stage(
        file, generation, 0, [Chunk(corpus.texts[at], 130, None, corpus.vectors[at].tobytes()) for at in texts]
    )
    with transaction():
        editions.publish(file, generation)
    removal.remove_superseded(file.id)


def measure(folder: Path) -> Iterator[Row]:
    name = f"{CHUNKS:,} chunks"
    corpus = corpora.make(CHUNKS, QUERIES, 1)
    loaded = load(corpus)
    yield from compared(name, loaded, corpus, folder)
    times, _ = ask(loaded, corpus, lambda _: "new people make time and state good", limit=FOUND)
    yield row(name, "hybrid, six words that are everywhere (p50 / p99)", ms(times), target=SPEED)
    times, _ = while_writing(loaded, corpus)
    yield row(name, "hybrid, while a file is indexed again and again (p50 / p99)", ms(times))
    if TENANTS > 1:
        yield from with_others(loaded, corpus)


def compared(name: str, loaded: Loaded, corpus: Corpus, folder: Path) -> Iterator[Row]:
    def words(number: int) -> str:
        return corpus.queries[number]

    shard = 7
    one = {"type": "eq", "key": "shard", "value": shard}
    ours = {
        "meaning": ask(loaded, corpus, words, limit=FOUND, ranking=MEANING),
        "hybrid": ask(loaded, corpus, words, limit=FOUND),
        "filtered": ask(loaded, corpus, words, limit=FOUND, ranking=MEANING, filters=one),
    }
    memory, disk = postgres_memory(), on_disk(loaded.store)
    try:
        theirs = peer(corpus, folder)
    except environment.PeerUnavailable as error:
        theirs = {}
        yield row(name, "peer", f"none: {error}")
    best = {"meaning": exact(corpus), "filtered": exact(corpus, shard)}
    texts = {"meaning": "by meaning", "hybrid": "hybrid", "filtered": "by meaning, a filter for 1 % of the files"}
    for kind, text in texts.items():
        other = theirs.get(kind)
        yield row(name, f"{text} (p50 / p99)", ms(ours[kind][0]), ms(other[0]) if other else "", target=SPEED)
        if kind in best:
            found = recall(other[1], best[kind]) if other else ""
            yield row(
                name, f"{text}: recall@10", recall(ours[kind][1], best[kind]), found, target=RECALL, better="higher"
            )
    yield row(name, "indexing, words too", seconds(loaded.seconds), seconds(theirs["seconds"]) if theirs else "")
    yield row(name, "memory while searching", size(memory), size(theirs["memory"]) if theirs else "")
    yield row(name, "on disk", size(disk), size(theirs["disk"]) if theirs else "")


def with_others(loaded: Loaded, corpus: Corpus) -> Iterator[Row]:
    """The first tenant's searches, with as many chunks of each of the others beside, at rest and searched too."""
    name = f"{TENANTS} x {CHUNKS:,} chunks"
    before, _ = ask(loaded, corpus, lambda number: corpus.queries[number], limit=FOUND)
    others = [load(corpora.make(CHUNKS, 1, seed)) for seed in range(2, TENANTS + 1)]
    after, _ = ask(loaded, corpus, lambda number: corpus.queries[number], limit=FOUND)
    yield row(name, "hybrid, of one tenant, alone (p50 / p99)", ms(before))
    yield row(name, "hybrid, of one tenant, beside the others (p50 / p99)", ms(after), target=SPEED)
    turns: list[float] = []
    for number in range(len(corpus.queries)):
        for other in others:
            search(other.store, vector=corpus.query_vectors[number].tobytes(), text=corpus.queries[number])
        began = time.perf_counter()
        search(loaded.store, vector=corpus.query_vectors[number].tobytes(), text=corpus.queries[number])
        turns.append(time.perf_counter() - began)
    yield row(name, "hybrid, in turn with searches of the others (p50 / p99)", ms(turns), target=SPEED)


def seconds(number: float) -> Measure:
    return Measure((number,), "s")


def size(megabytes: float) -> Measure:
    return Measure((megabytes,), "MB")


def main() -> None:
    setup = Setup.from_arguments()
    print_rows(list(measure(Path(setup.url))))


if __name__ == "__main__":
    main()
