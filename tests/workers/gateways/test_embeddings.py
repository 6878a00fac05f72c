"""Vectors of texts: real ones from the stand-in, and every way in which a server can fail us, each with its code, in time."""

import array
import base64
import json
import socket
import threading
import time

import pytest
from pydantic import SecretStr

from workers.gateways import embeddings
from workers.gateways.embeddings import EmbeddingsFailed, embed


def encoded(*numbers):
    return base64.b64encode(array.array("f", numbers).tobytes()).decode()


def answer(*vectors, **more):
    data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return {"object": "list", "data": data, "usage": {"prompt_tokens": 7}, **more}


class Server:
    """Speaks raw HTTP: `say` is called with the connection, once for each request that it has read."""

    def __init__(self, say):
        self.say, self.requests = say, []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            try:
                while head := self._head(connection):
                    self.requests.append(head)
                    self.say(connection)
            except OSError:
                return

    def _head(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            if not (part := connection.recv(65536)):
                return b""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(
            next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")).split()[1]
        )
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body


@pytest.fixture
def server(configure):
    """server(say) answers in the place of the embeddings server."""
    started = []

    def start(say):
        found = Server(say)
        started.append(found)
        configure(embedding_base_url=found.url, embedding_api_key=SecretStr("sk-embed"), embedding_timeout_seconds=5)
        return found

    yield start
    for one in started:
        one.listening.close()


def saying(body, status="200 OK", headers=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode()
    return lambda connection: connection.sendall(head + body)


def test_real_vectors_are_near_for_near_meanings(provider):
    # given
    texts = ["a small dog barks", "a puppy is barking", "quarterly tax report"]
    # when
    found = embed(texts)
    # then
    assert {len(vector) for vector in found.vectors} == {256}
    assert found.tokens > 0
    near, far = (sum(a * b for a, b in zip(found.vectors[0], found.vectors[at], strict=True)) for at in (1, 2))
    assert near > far + 0.2


def test_the_order_is_that_of_the_texts_whatever_order_the_server_answers_in(server):
    body = answer(encoded(1, 0), encoded(0, 1))
    body["data"].reverse()
    server(saying(body))
    assert embed(["one", "two"]).vectors == [[1, 0], [0, 1]]


def test_numbers_instead_of_base64_are_understood_and_tokens_estimated(server):
    server(saying({"data": [{"embedding": [0.5, 0.25]}]}))
    assert embed(["eight or so"]) == ([[0.5, 0.25]], 3)


def test_the_key_and_the_model_are_sent(server, configure):
    # given
    got = server(saying(answer(encoded(1, 0))))
    configure(embedding_dimensions=2)
    # when
    embed(["text"], model="other")
    # then
    head, _, body = got.requests[0].partition(b"\r\n\r\n")
    assert b"authorization: Bearer sk-embed" in head
    assert json.loads(body) == {"model": "other", "input": ["text"], "encoding_format": "base64", "dimensions": 2}


BAD = {
    "too few": answer(encoded(1)),
    "too many": answer(encoded(1), encoded(1), encoded(1)),
    "twice the same index": {"data": [{"index": 0, "embedding": encoded(1)}] * 2},
    "index as text": {"data": [{"index": "0", "embedding": encoded(1)}] * 2},
    "different lengths": answer(encoded(1), encoded(1, 2)),
    "empty vectors": answer("", ""),
    "nan": answer(encoded(1), encoded(float("nan"))),
    "infinity": answer(encoded(1), encoded(float("inf"))),
    "not base64": answer("!!", "!!"),
    "torn base64": answer("AAAA", "AAAA"),
    "words": answer(["a"], ["b"]),
    "null": answer(None, None),
    "numbers that float32 cannot hold": answer([1e300], [1e300]),
    "no data": {"error": {"message": "sk-embed is unknown"}},
    "a list": [],
    "no JSON": b"<html>",
    "nothing": b"",
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_an_answer_that_cannot_be_used_is_an_error(server, body):
    server(saying(body))
    with pytest.raises(EmbeddingsFailed) as caught:
        embed(["one", "two"])
    assert (caught.value.code, caught.value.is_retryable) == ("embeddings_invalid", True)


def test_vectors_of_another_length_than_wanted_are_told_apart(server):
    server(saying(answer(encoded(1, 2, 3))))
    with pytest.raises(EmbeddingsFailed) as caught:
        embed(["one"], dimensions=2)
    assert (caught.value.code, caught.value.is_retryable) == ("embeddings_dimensions", False)


@pytest.mark.parametrize(
    ("status", "code", "is_retryable"),
    [
        ("400 Bad Request", "embeddings_refused", False),
        ("401 Unauthorized", "embeddings_refused", False),
        ("404 Not Found", "embeddings_refused", False),
        ("302 Found", "embeddings_refused", False),
        ("408 Timeout", "embeddings_unavailable", True),
        ("429 Too Many", "embeddings_rate_limited", True),
        ("500 Oops", "embeddings_unavailable", True),
        ("503 Away", "embeddings_unavailable", True),
    ],
)
def test_statuses_have_their_codes_and_the_servers_words_are_not_shown(server, status, code, is_retryable):
    server(saying(b"the key sk-embed and the text", status, "retry-after: 2.5\r\nlocation: http://evil.example/\r\n"))
    with pytest.raises(EmbeddingsFailed) as caught:
        embed(["one"])
    assert (caught.value.code, caught.value.is_retryable) == (code, is_retryable)
    assert "sk-embed" not in str(caught.value)
    assert caught.value.retry_after == (2.5 if code == "embeddings_rate_limited" else None)


def drip(connection):
    head = b"HTTP/1.1 200 OK\r\nx-long: "
    for byte in head + b"a" * 100_000:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def drip_body(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    for _ in range(100_000):
        connection.sendall(b" ")
        time.sleep(0.02)


@pytest.mark.parametrize("say", [drip, drip_body, lambda connection: time.sleep(30)], ids=["head", "body", "silence"])
def test_a_slow_server_costs_no_more_than_the_deadline(server, say):
    # given
    server(say)
    started = time.monotonic()
    # when
    with pytest.raises(EmbeddingsFailed) as caught:
        embed(["one"], seconds=0.3)
    # then
    assert caught.value.code == "embeddings_timeout"
    assert time.monotonic() - started < 10  # one of the three would take 30 s, the others half an hour


def test_a_connection_that_breaks_is_tried_once_more(server):
    # given
    said = []

    def say(connection):
        said.append(1)
        if len(said) == 1:
            connection.close()
        else:
            saying(answer(encoded(1)))(connection)

    server(say)
    # then
    assert embed(["one"]).vectors == [[1]]


def test_a_server_that_is_away_and_one_that_speaks_no_http(server, configure):
    for say in (lambda connection: connection.close(), lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n")):
        server(say)
        with pytest.raises(EmbeddingsFailed) as caught:
            embed(["one"])
        assert caught.value.code == "embeddings_unavailable"
    for url in ("http://127.0.0.1:1/v1", "ftp://127.0.0.1/v1"):
        configure(embedding_base_url=url)
        with pytest.raises(EmbeddingsFailed) as caught:
            embed(["one"])
        assert caught.value.code == "embeddings_unavailable"


def test_an_endless_answer_is_cut(server, monkeypatch):
    monkeypatch.setattr(embeddings, "LARGEST_ANSWER", 1000)
    server(saying(b" " * 5000))
    with pytest.raises(EmbeddingsFailed):
        embed(["one"])


def test_a_hundred_at_once_share_the_server(provider):
    found, texts = [], [f"text {number}" for number in range(100)]
    threads = [threading.Thread(target=lambda text=text: found.append((text, embed([text])))) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(text for text, _ in found) == sorted(texts)
    assert all(len(one.vectors[0]) == 256 for _, one in found)
