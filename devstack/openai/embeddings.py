"""POST /v1/embeddings: real embeddings of 256 dimensions, computed by WordLlama."""

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from devstack.openai.errors import invalid, missing, wrong_type

DIMENSIONS = 256
_MAX_TEXTS = 2048


@lru_cache(maxsize=1)
def _model() -> Any:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import wordllama  # takes half a second, so only when it is needed

    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


@dataclass
class Request:
    """A checked request. `dimensions` is the length of the vectors; `encoding` is "float" or "base64"."""

    model: str
    texts: list[str]
    dimensions: int
    encoding: str

    def answer(self) -> str:
        """The response as JSON. The first call loads the model, so call it in a thread."""
        encode: Callable[[Any], str | list[float]] = _base64 if self.encoding == "base64" else _floats
        data = [
            {"object": "embedding", "index": at, "embedding": encode(vector)}
            for at, vector in enumerate(vectors(self.texts, self.dimensions))
        ]
        tokens = sum(len(text) // 4 + 1 for text in self.texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return json.dumps({"object": "list", "data": data, "model": self.model, "usage": usage})


def read(body: dict[str, Any]) -> Request:
    """Check a request body. ApiError 400 if it is invalid."""
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise invalid(
            "Invalid value for 'encoding_format'. Supported values are: 'float' and 'base64'.",
            "encoding_format",
            "invalid_value",
        )
    texts = _texts(body)
    return Request(body["model"], texts, _dimensions(body.get("dimensions")), encoding)


def _texts(body: dict[str, Any]) -> list[str]:
    for name in ("model", "input"):
        if body.get(name) is None:
            raise missing(name)
    if not isinstance(body["model"], str):
        raise wrong_type("model", "a string", body["model"])
    value = body["input"]
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise wrong_type("input", "one of a string or array of strings", value)
    if not texts or len(texts) > _MAX_TEXTS or "" in texts:
        raise invalid(f"'input' must be 1 to {_MAX_TEXTS} texts, none of them empty.", "input")
    if not all(isinstance(text, str) for text in texts):
        raise invalid("The demo model embeds texts only, not arrays of tokens.", "input", "invalid_type")
    return texts


def _dimensions(value: Any) -> int:
    if value is None:
        return DIMENSIONS
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= DIMENSIONS:
        raise invalid(
            f"Invalid value for 'dimensions': expected an integer from 1 to {DIMENSIONS}.",
            "dimensions",
            "invalid_value",
        )
    return value


def vectors(texts: list[str], dimensions: int) -> Any:
    """A float32 array of unit vectors, one row per text."""
    import numpy as np

    vectors = _model().embed(texts)[:, :dimensions]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length == 0, 1, length)).astype("<f4")


def _base64(vector: Any) -> str:
    return base64.b64encode(vector.tobytes()).decode()


def _floats(vector: Any) -> list[float]:
    return list(vector.tolist())
