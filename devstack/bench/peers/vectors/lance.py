"""LanceDB with the same texts and queries: runs in the peers' own environment, prints JSON."""

import json
import sys
import time
from pathlib import Path

import lancedb
import numpy as np
import psutil
import pyarrow as pa
from lancedb.rerankers import RRFReranker

BATCH = 10_000


def main(folder: Path) -> None:
    given = json.loads((folder / "texts.json").read_text())
    vectors, queries = np.load(folder / "vectors.npy"), np.load(folder / "queries.npy")
    began = time.perf_counter()
    table = load(folder / "lance", given, vectors)
    seconds = time.perf_counter() - began
    reranker, found = RRFReranker(), given["found"]

    def meaning(at):
        return table.search(queries[at]).distance_type("cosine").ef(100).nprobes(20).limit(found)

    def hybrid(at):
        both = table.search(query_type="hybrid").vector(queries[at]).text(given["queries"][at])
        return both.distance_type("cosine").rerank(reranker).limit(found)

    answers = {
        "meaning": ask(meaning, given, len(queries)),
        "hybrid": ask(hybrid, given, len(queries)),
        "filtered": ask(lambda at: meaning(at).where("shard = 7", prefilter=True), given, len(queries)),
        "seconds": seconds,
        "memory": psutil.Process().memory_full_info().pss / 2**20,
        "disk": sum(file.stat().st_size for file in (folder / "lance").rglob("*") if file.is_file()) / 2**20,
    }
    print(json.dumps(answers))


def load(folder, given, vectors):
    schema = pa.schema(
        [
            ("number", pa.int32()),
            ("shard", pa.int32()),
            ("text", pa.string()),
            ("vector", pa.list_(pa.float32(), vectors.shape[1])),
        ]
    )
    table = lancedb.connect(folder).create_table("chunks", schema=schema)
    for first in range(0, len(vectors), BATCH):
        part = slice(first, first + BATCH)
        flat = pa.array(vectors[part].reshape(-1), pa.float32())
        columns = [
            pa.array(range(first, first + len(vectors[part])), pa.int32()),
            pa.array(given["shards"][part], pa.int32()),
            pa.array(given["texts"][part]),
            pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        ]
        table.add(pa.Table.from_arrays(columns, schema=schema))
    table.create_index(metric="cosine", index_type="IVF_HNSW_SQ", num_partitions=1)
    table.create_fts_index("text")
    table.create_scalar_index("shard")
    table.optimize()
    return table


def ask(query, given, count):
    times, answers = [], []
    for turn in range(-given["warm_up"], count):
        began = time.perf_counter()
        rows = query(turn % count).select(["number", "text", "vector"]).to_list()
        if turn >= 0:
            times.append(time.perf_counter() - began)
            answers.append([row["number"] for row in rows])
    return times, answers


if __name__ == "__main__":
    main(Path(sys.argv[1]))
