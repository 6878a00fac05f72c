"""The HTTP side of the stand-in; README.md beside it tells how to start it and what it understands."""

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import falcon
import gevent
from gevent.threadpool import ThreadPool

from devstack.openai import embeddings, request, script
from devstack.openai.errors import ApiError, invalid
from devstack.openai.presence import watched
from devstack.openai.wire import Reply

_MODELS = ("longshore-demo", "gpt-5.1", "gpt-5-mini", "text-embedding-3-small", "text-embedding-3-large")
_BATCH = 100  # events in one write at most
_EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass
class Stats:
    requests: int = 0  # POST /v1/responses, refused ones too
    open_streams: int = 0  # answers under way, streamed or not
    closed_early: int = 0  # the client left before the end


class Guard:
    """Every answer has a request id, and /v1 wants a key."""

    def process_request(self, req, resp):
        resp.set_header("x-request-id", f"req_{os.urandom(16).hex()}")
        resp.set_header("openai-version", "2020-10-01")
        if req.path.startswith("/v1/"):
            scheme, _, key = (req.auth or "").partition(" ")
            if scheme.lower() != "bearer" or not key.strip():
                raise ApiError(
                    401,
                    "You didn't provide an API key. You need to provide your API key in an "
                    "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
                )


class Responses:
    def __init__(self, stats: Stats):
        self.stats = stats

    def on_post(self, req, resp):
        self.stats.requests += 1
        asked = request.read(req.stream.read())
        reply = Reply(asked, script.plan(asked))
        resp.content_type = _EVENT_STREAM if asked.stream else falcon.MEDIA_JSON
        resp.stream = self.told(reply, req.env.get("gunicorn.socket"), asked.stream)

    def told(self, reply: Reply, sock, streamed: bool) -> Iterator[bytes]:
        """Write the reply at its pace. Without a stream it takes as long and is written at once at the end."""
        stats, whole = self.stats, False
        stats.open_streams += 1
        try:
            with watched(sock):
                for chunk in _paced(reply, sock):
                    if streamed:
                        yield chunk
                if not streamed and reply.final:
                    yield reply.final.encode()
            whole = True
        finally:
            stats.open_streams -= 1
            stats.closed_early += not whole


def _paced(reply: Reply, sock) -> Iterator[bytes]:
    """Chunks of events, with the waits between them. Waits end at set times, so delays do not add up."""
    pending: list[str] = []
    due = time.monotonic()
    for step in reply.steps():
        if isinstance(step, str):
            pending.append(step)
            if len(pending) < _BATCH:
                continue
            step = 0.0  # noqa: PLW2901  a long answer without delays lets the others have their turn
        if pending:
            yield "".join(pending).encode()
            pending.clear()
        if step is None:  # DROP
            if sock is None:
                raise ConnectionAbortedError("only gunicorn's own sockets can be cut")
            sock.shutdown(socket.SHUT_RDWR)
            return
        due += step
        gevent.sleep(max(0.0, due - time.monotonic()))
    if pending:
        yield "".join(pending).encode()


class Embeddings:
    def __init__(self):
        self.thread = ThreadPool(1)  # numbers are crunched beside the streams, one request at a time

    def on_post(self, req, resp):
        asked = embeddings.read(request.parse(req.stream.read()))
        resp.content_type = falcon.MEDIA_JSON
        resp.text = self.thread.apply(asked.answer)


class Models:
    def on_get(self, req, resp):
        resp.media = {"object": "list", "data": [_model(name) for name in _MODELS]}

    def on_get_one(self, req, resp, name):
        if name not in _MODELS:
            raise ApiError(
                404,
                f"The model '{name}' does not exist or you do not have access to it.",
                param="model",
                code="model_not_found",
            )
        resp.media = _model(name)


class StandIn:
    """What the real service does not have: figures for tests, and a sign of life."""

    def __init__(self, stats: Stats):
        self.stats = stats

    def on_get_stats(self, req, resp):
        resp.text = json.dumps(asdict(self.stats))

    def on_get_health(self, req, resp):
        resp.text = '{"status":"ok"}'


def create_app() -> falcon.App:
    stats = Stats()
    app = falcon.App(middleware=[Guard()])
    app.add_error_handler(ApiError, _tell_error)
    app.set_error_serializer(_tell_http_error)
    standin, models = StandIn(stats), Models()
    app.add_route("/health", standin, suffix="health")
    app.add_route("/_standin/stats", standin, suffix="stats")
    app.add_route("/v1/responses", Responses(stats))
    app.add_route("/v1/embeddings", Embeddings())
    app.add_route("/v1/models", models)
    app.add_route("/v1/models/{name}", models, suffix="one")
    return app


def _model(name: str) -> dict:
    return {"id": name, "object": "model", "created": 1735689600, "owned_by": "longshore"}


def _tell_error(req, resp, error: ApiError, params):
    resp.status = error.status
    resp.content_type = falcon.MEDIA_JSON
    resp.text = error.body()
    for name, value in error.headers.items():
        resp.set_header(name, value)


def _tell_http_error(req, resp, error: falcon.HTTPError):
    """Falcon's own errors: unknown paths, wrong methods, and mistakes of ours."""
    if error.status_code >= 500:
        message, kind = "The stand-in made a mistake: see its log.", "server_error"
    else:
        message, kind = f"Invalid URL ({req.method} {req.path})", "invalid_request_error"
    told = ApiError(error.status_code, message, kind=kind) if error.status_code != 400 else invalid(message)
    resp.content_type = falcon.MEDIA_JSON
    resp.text = told.body()
