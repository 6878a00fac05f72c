"""Vectors of texts, from any server that speaks OpenAI's `POST /embeddings`.

An answer has one deadline, however slowly the server speaks. Nothing is retried here but a connection that broke before
the answer: whoever asks knows how long it may wait.
"""

import array
import base64
import binascii
import math
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from models.platform.errors import Unavailable
from models.platform.json import encode
from models.platform.settings import settings
from workers import metrics
from workers.gateways import timed_http
from workers.gateways.timed_http import TimedOut, Unreachable

OPENAI = "https://api.openai.com/v1"
MOST_TEXTS = 2048  # in one request; OpenAI's limit
LARGEST_ANSWER = 256 * 1024 * 1024  # bytes
Vector = list[float]


class Embedded(NamedTuple):
    """`vectors`: one for each text, in their order, all equally long. `tokens`: what the server has counted."""

    vectors: list[Vector]
    tokens: int


class EmbeddingsFailed(Unavailable):
    """No vectors. `is_retryable`: the same request may succeed later. `retry_after`: seconds that the server asked for."""

    code, message = "embeddings_unavailable", "The embeddings server is not reachable. Retry shortly."
    is_retryable = True
    retry_after: float | None = None


class EmbeddingsLate(EmbeddingsFailed):
    code, message = "embeddings_timeout", "The embeddings server did not answer in time."


class EmbeddingsLimited(EmbeddingsFailed):
    code, message = "embeddings_rate_limited", "The embeddings server limits our requests. Retry shortly."


class EmbeddingsRefused(EmbeddingsFailed):
    """The request, the model or our key is not accepted: it would not be the next time either."""

    code, message = "embeddings_refused", "The embeddings server refused the request."
    is_retryable = False


class EmbeddingsInvalid(EmbeddingsFailed):
    """An answer that cannot be used, such as fewer vectors than texts, or numbers that are none."""

    code, message = "embeddings_invalid", "The embeddings server gave an answer that cannot be used."


class EmbeddingsMismatch(EmbeddingsFailed):
    """The vectors are longer or shorter than those of the store: another model, or other settings of it."""

    code = "embeddings_dimensions"
    message = "The embeddings server gives vectors of another length than the vector store has."
    is_retryable = False


def embed(
    texts: Sequence[str], *, model: str | None = None, dimensions: int | None = None, seconds: float | None = None
) -> Embedded:
    """The vectors of 1 to MOST_TEXTS texts, none of them empty. EmbeddingsFailed, with one of its codes.

    `model`: default EMBEDDING_MODEL. `dimensions`: how long the vectors must be; by default EMBEDDING_DIMENSIONS, and without
    that any length. `seconds` for all of it, by default EMBEDDING_TIMEOUT_SECONDS.
    """
    if not 1 <= len(texts) <= MOST_TEXTS:
        raise ValueError(f"{len(texts)} texts")
    seconds = settings.embedding_timeout_seconds if seconds is None else seconds
    dimensions = dimensions or settings.embedding_dimensions
    body: dict[str, Any] = {
        "model": model or settings.embedding_model,
        "input": list(texts),
        "encoding_format": "base64",
    }
    if settings.embedding_dimensions:
        body["dimensions"] = dimensions
    started, outcome = time.perf_counter(), "interrupted"
    try:
        answer = _parsed(_post(encode(body), seconds))
        found = Embedded(_vectors(answer, len(texts), dimensions), _tokens(answer, texts))
        outcome = "ok"
        return found
    except EmbeddingsFailed as error:
        outcome = error.code
        raise
    finally:
        metrics.embedded(outcome, len(texts) if outcome == "ok" else 0, time.perf_counter() - started)


def _post(body: bytes, seconds: float) -> bytes:
    url = (settings.embedding_base_url or settings.openai_base_url or OPENAI).rstrip("/") + "/embeddings"
    key = settings.embedding_api_key or settings.openai_api_key
    headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": settings.app_name}
    if key:
        headers["authorization"] = f"Bearer {key.get_secret_value()}"
    try:
        answer = timed_http.post(url, headers, body, seconds=seconds, largest=LARGEST_ANSWER)
    except TimedOut:
        raise EmbeddingsLate from None
    except Unreachable as error:
        raise EmbeddingsFailed from error
    if answer.status != 200:
        raise _refusal(answer.status, answer.headers.get("retry-after", ""))
    return answer.body


def _refusal(status: int, retry_after: str) -> EmbeddingsFailed:
    """The server's own words are left out: they may quote the texts or our key."""
    if status == 429:
        limited = EmbeddingsLimited()
        limited.retry_after = float(retry_after) if retry_after.replace(".", "", 1).isdigit() else None
        return limited
    if status >= 500 or status == 408:
        return EmbeddingsFailed()
    return EmbeddingsRefused(f"The embeddings server refused the request (status {status}).")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise EmbeddingsInvalid("The embeddings server gave an answer that is not JSON.") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
        raise EmbeddingsInvalid("The embeddings server gave an answer without vectors.")
    return answer


def _vectors(answer: dict[str, Any], number: int, dimensions: int | None) -> list[Vector]:
    items = answer["data"]
    found: dict[int, Vector] = {}
    for at, item in enumerate(items):
        index = item.get("index", at) if isinstance(item, dict) else None
        if not isinstance(index, int):
            raise EmbeddingsInvalid("The embeddings server gave a vector that belongs to no text.")
        found[index] = _vector(item.get("embedding"))
    if len(items) != number or found.keys() != set(range(number)):
        raise EmbeddingsInvalid(f"The embeddings server gave {len(items)} vectors for {number} texts.")
    lengths = {len(vector) for vector in found.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise EmbeddingsInvalid("The embeddings server gave vectors of different lengths.")
    if dimensions and lengths != {dimensions}:
        raise EmbeddingsMismatch(
            f"The embeddings server gives vectors of {lengths.pop()} numbers; {dimensions} are wanted."
        )
    return [found[at] for at in range(number)]


def _vector(value: Any) -> Vector:
    """Some servers give numbers although they were asked for base64, which is float32, the lowest byte first."""
    try:
        numbers = array.array("f")
        if isinstance(value, str):
            numbers.frombytes(base64.b64decode(value, validate=True))
            if sys.byteorder == "big":
                numbers.byteswap()
        else:
            numbers.extend(value)
    except (TypeError, ValueError, OverflowError, binascii.Error):
        raise EmbeddingsInvalid("The embeddings server gave a vector that cannot be read.") from None
    if not math.isfinite(sum(numbers)):  # one number that is none makes the sum none
        raise EmbeddingsInvalid("The embeddings server gave a vector with numbers that are none.")
    return numbers.tolist()


def _tokens(answer: dict[str, Any], texts: Sequence[str]) -> int:
    """As the server has counted them; about as many as there are, from one that does not say."""
    usage = answer.get("usage")
    counted = (usage.get("prompt_tokens") or usage.get("total_tokens")) if isinstance(usage, dict) else None
    return counted if isinstance(counted, int) and counted > 0 else sum(len(text) // 4 + 1 for text in texts)
