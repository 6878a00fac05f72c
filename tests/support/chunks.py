"""Vector stores with files and chunks, whose vectors tests choose."""

import hashlib
import random

from models.platform.database import transaction
from models.platform.ids import uuid7
from models.vector_stores import chunks, editions, indexes
from models.vector_stores.chunks import Chunk
from models.vector_stores.files import COMPLETED, VectorStoreFile
from models.vector_stores.stores import VectorStore

DIMENSIONS = 8


def vector(seed, dimensions=DIMENSIONS):
    """A direction that depends on the seed only."""
    rng = random.Random(hashlib.sha256(str(seed).encode("utf-8", "replace")).digest())
    return [rng.gauss(0, 1) for _ in range(dimensions)]


def make_store(tenant, name=None, **columns):
    columns = {"status": COMPLETED, "engine": "pgvector", "name": name or uuid7().hex} | columns
    return VectorStore.create(tenant_id=tenant.id, **columns)


def make_file(store, name="notes.txt", **columns):
    columns = {"file_id": f"file-{uuid7().hex}", "filename": name} | columns
    return VectorStoreFile.create(tenant_id=store.tenant_id, vector_store_id=store.id, **columns)


def make_chunks(texts, dimensions=DIMENSIONS):
    return [Chunk(text, len(text) // 4 + 1, None, vector(text, dimensions)) for text in texts]


def write(file, texts, generation=1, at_once=1000):
    """Stage the texts as chunks, in batches."""
    made = make_chunks(texts)
    for first in range(0, len(made), at_once):
        chunks.stage(file, generation, first, made[first : first + at_once])


def publish(file, generation=1):
    """Let searches see the file. If its store has become large, it is indexed, as a job does soon after."""
    with transaction():
        count = editions.publish(file, generation)
    for store_id in indexes.due():
        indexes.tend(store_id)
    return count


def add_file(store, texts, name="notes.txt", **columns):
    """A file with these chunks that searches see."""
    file = make_file(store, name, status=COMPLETED, **columns)
    write(file, texts)
    publish(file)
    return file
