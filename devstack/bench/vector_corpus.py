"""Seeded text with the structure of documents: each is about a topic, its parts about some of the topic's words."""

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

from devstack.openai import embeddings

TOPICS, TOPIC_WORDS, PART_WORDS = 400, 90, 25
CHUNKS_PER_FILE, CHUNK_WORDS, QUERY_WORDS = 20, 100, 8
# The most frequent words of English come first: about half of them are too common for an index of words.
_FREQUENT = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one
you were all her she there would their we him been has when who will more no if out so said what up its about into
than them can only other new some could time these two may then do first any my now such like our over man me even
most made after also did many before must through back years where much your way well down should because each
just those people how too little state good very make world still own see men work long get here between both life
being under never day same another know while last might great old year off come since against go came right used
"""
COMMON = _FREQUENT.split()
SHARDS = 100  # of the files: a filter for one of them selects 1 %
BATCH = 2000  # texts that are embedded at once


@dataclass(frozen=True)
class Corpus:
    """`vectors`: an array of unit vectors, float32, one row per text. Text number i is in file i // CHUNKS_PER_FILE."""

    texts: list[str]
    vectors: Any
    queries: list[str]
    query_vectors: Any

    @property
    def files(self) -> int:
        return len(self.texts) // CHUNKS_PER_FILE


def shard(file: int) -> int:
    """The shard of a file, which its attributes name."""
    return file * 7919 % SHARDS


@cache
def words() -> list[str]:
    """English words and parts of such: those of the model's vocabulary, in a fixed random order."""
    vocabulary = embeddings._model().tokenizer.get_vocab()  # noqa: SLF001  the stand-in's model
    found = sorted(
        token[1:] for token in vocabulary if token[0] in "▁Ġ" and token[1:].isascii() and token[1:].islower()
    )
    chosen = [word for word in found if word.isalpha() and len(word) > 3]
    random.Random(1).shuffle(chosen)
    return chosen


def make(chunks: int, queries: int, seed: int) -> Corpus:
    rng, vocabulary = random.Random(seed), words()
    weights = [1 / (rank + 1) for rank in range(len(COMMON))]
    topics = [rng.sample(vocabulary, TOPIC_WORDS) for _ in range(TOPICS)]
    texts, parts = [], []
    for number in range(chunks):
        topic = topics[number // CHUNKS_PER_FILE % TOPICS]
        part = rng.sample(topic, PART_WORDS)
        parts.append(part)
        mixed = rng.choices(part, k=CHUNK_WORDS * 6 // 10) + rng.choices(COMMON, weights, k=CHUNK_WORDS * 4 // 10)
        rng.shuffle(mixed)
        texts.append(". ".join(" ".join(mixed[at : at + 12]).capitalize() for at in range(0, CHUNK_WORDS, 12)) + ".")
    asked = [
        " ".join(rng.sample(rng.choice(parts), QUERY_WORDS) + rng.choices(COMMON, weights, k=3)) for _ in range(queries)
    ]
    return Corpus(texts, embed(texts), asked, embed(asked))


def embed(texts: list[str]) -> Any:
    import numpy as np

    parts = [embeddings.vectors(texts[at : at + BATCH], embeddings.DIMENSIONS) for at in range(0, len(texts), BATCH)]
    return np.concatenate(parts)
