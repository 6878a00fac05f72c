"""Embeddings by WordLlama: real ones, 256 numbers long, computed here."""

import base64
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from devstack.openai.errors import invalid, missing, wrong_type

DIMENSIONS = 256
_MOST_TEXTS = 2048


@lru_cache(maxsize=1)
def _model():
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import wordllama  # half a second: only who embeds pays for it

    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


@dataclass
class Request:
    model: str
    texts: list[str]
    size: int
    coding: str

    def answer(self) -> str:
        """The response as JSON text. The first one loads the model: call this in a thread."""
        pack = _base64 if self.coding == "base64" else _floats
        data = [
            {"object": "embedding", "index": at, "embedding": pack(vector)}
            for at, vector in enumerate(_vectors(self.texts, self.size))
        ]
        tokens = sum(len(text) // 4 + 1 for text in self.texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return json.dumps({"object": "list", "data": data, "model": self.model, "usage": usage})


def read(body: dict[str, Any]) -> Request:
    coding = body.get("encoding_format") or "float"
    if coding not in ("float", "base64"):
        raise invalid(
            "Invalid value for 'encoding_format'. Supported values are: 'float' and 'base64'.",
            "encoding_format",
            "invalid_value",
        )
    texts = _texts(body)
    return Request(body["model"], texts, _size(body.get("dimensions")), coding)


def _texts(body: dict[str, Any]) -> list[str]:
    for name in ("model", "input"):
        if body.get(name) is None:
            raise missing(name)
    if not isinstance(body["model"], str):
        raise wrong_type("model", "a string", body["model"])
    given = body["input"]
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list):
        raise wrong_type("input", "one of a string or array of strings", given)
    if not texts or len(texts) > _MOST_TEXTS or "" in texts:
        raise invalid(f"'input' must be 1 to {_MOST_TEXTS} texts, none of them empty.", "input")
    if not all(isinstance(text, str) for text in texts):
        raise invalid("The demo model embeds texts only, not token numbers.", "input", "invalid_type")
    return texts


def _size(asked: Any) -> int:
    if asked is None:
        return DIMENSIONS
    if not isinstance(asked, int) or isinstance(asked, bool) or not 1 <= asked <= DIMENSIONS:
        raise invalid(
            f"Invalid value for 'dimensions': expected an integer from 1 to {DIMENSIONS}.",
            "dimensions",
            "invalid_value",
        )
    return asked


def _vectors(texts: list[str], size: int):
    import numpy as np

    vectors = _model().embed(texts)[:, :size]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length == 0, 1, length)).astype("<f4")


def _base64(vector) -> str:
    return base64.b64encode(vector.tobytes()).decode()


def _floats(vector) -> list[float]:
    return vector.tolist()
