"""The HTTP server of the model stand-in. README.md says how to start it and what it supports."""

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import falcon
import gevent
from gevent.threadpool import ThreadPool

from devstack.openai import chat_request, code_interpreter, embeddings, script
from devstack.openai.chat_wire import ChatReply
from devstack.openai.code_interpreter import CodeRun
from devstack.openai.container_store import Containers
from devstack.openai.containers import ContainerResources
from devstack.openai.errors import ApiError, by_status, invalid
from devstack.openai.faults import Faults
from devstack.openai.files import Files
from devstack.openai.library import Library
from devstack.openai.presence import watched
from devstack.openai.request import parse, read
from devstack.openai.vector_stores import Control, VectorStoreFiles, VectorStores
from devstack.openai.wire import Reply

_MODELS = ("longshore-demo", "gpt-5.1", "gpt-5-mini", "text-embedding-3-small", "text-embedding-3-large")
_MAX_BATCH = 100  # events in one write
_EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass
class Stats:
    """Counters of this process.

    requests          answers that were asked for, refused requests included
    responses         those of POST /v1/responses
    chat_completions  those of POST /v1/chat/completions
    open_streams   responses being sent now, streamed or not
    closed_early   responses whose client disconnected before the end
    embedded       texts that became vectors
    """

    requests: int = 0
    responses: int = 0
    chat_completions: int = 0
    open_streams: int = 0
    closed_early: int = 0
    embedded: int = 0


class Authentication:
    """Middleware: gives every response a request id, and requires an API key under /v1. Any key is accepted."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
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


AnyReply = Reply | ChatReply


def _responses(containers: Containers, raw: bytes) -> Reply:
    request = read(raw)
    plan = script.plan(request)
    code_interpreter.assign(request, (item for item in plan.items if isinstance(item, CodeRun)), containers)
    return Reply(request, plan)


def _chat(raw: bytes) -> ChatReply:
    request = chat_request.read(raw)
    plan = script.plan(request)
    if plan.ending == "failed" and not request.stream:
        raise by_status(500)  # an answer in one piece cannot fail in the middle
    return ChatReply(request, plan)


class Wire:
    """An endpoint that answers, on the wire that `reply` writes. `counter`: its field in the stats."""

    def __init__(self, stats: Stats, counter: str, reply: Callable[[bytes], AnyReply]) -> None:
        self.stats, self.counter, self.reply = stats, counter, reply

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        self.stats.requests += 1
        setattr(self.stats, self.counter, getattr(self.stats, self.counter) + 1)
        reply = self.reply(req.stream.read())
        resp.content_type = _EVENT_STREAM if reply.streamed else falcon.MEDIA_JSON
        resp.stream = self._send(reply, req.env.get("gunicorn.socket"), reply.streamed)

    def _send(self, reply: AnyReply, sock: Any, streamed: bool) -> Iterator[bytes]:
        """Send the reply at its pace. Without streaming it takes as long, and is sent in one piece at the end."""
        complete = False
        self.stats.open_streams += 1
        try:
            with watched(sock):
                for chunk in _paced(reply, sock):
                    if streamed:
                        yield chunk
                if not streamed and reply.final:
                    yield reply.final.encode()
            complete = True
        finally:
            self.stats.open_streams -= 1
            self.stats.closed_early += not complete


def _paced(reply: AnyReply, sock: Any) -> Iterator[bytes]:
    """Yield the events in chunks, and sleep between them. Each sleep has a due time, so delays do not add up."""
    pending: list[str] = []
    due = time.monotonic()
    for step in reply.steps():
        if isinstance(step, str):
            pending.append(step)
            if len(pending) < _MAX_BATCH:
                continue
            step = 0.0  # noqa: PLW2901  (a long answer without delays must not block the other streams)
        if pending:
            yield "".join(pending).encode()
            pending.clear()
        if step is None:  # DROP
            if sock is None:
                raise ConnectionAbortedError("the connection can be dropped under gunicorn only")
            sock.shutdown(socket.SHUT_RDWR)
            return
        due += step
        gevent.sleep(max(0.0, due - time.monotonic()))
    if pending:
        yield "".join(pending).encode()


class Embeddings:
    def __init__(self, stats: Stats) -> None:
        self.stats = stats
        self.thread = ThreadPool(1)  # computing in a thread keeps the streams running

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        request = embeddings.read(parse(req.stream.read()))
        resp.content_type = falcon.MEDIA_JSON
        resp.text = self.thread.apply(request.answer)
        self.stats.embedded += len(request.texts)


class Models:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {"object": "list", "data": [_model(name) for name in _MODELS]}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        if name not in _MODELS:
            raise ApiError(
                404,
                f"The model '{name}' does not exist or you do not have access to it.",
                param="model",
                code="model_not_found",
            )
        resp.media = _model(name)


class StandIn:
    """Endpoints that the real service does not have: counters for tests, and a health check."""

    def __init__(self, stats: Stats) -> None:
        self.stats = stats

    def on_get_stats(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.text = json.dumps(asdict(self.stats))

    def on_get_health(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.text = '{"status":"ok"}'


def create_app(wires: str = "responses chat") -> falcon.App[Any, Any]:
    """The WSGI application. Run it in one process: its counters are per process.

    `wires`: those that it speaks. Most compatible servers speak only `chat`.
    """
    stats, library = Stats(), Library()
    faults = Faults()
    middleware: list[Any] = [Authentication(), faults]
    app: falcon.App[Any, Any] = falcon.App(middleware=middleware)
    app.add_error_handler(ApiError, _render_error)
    app.set_error_serializer(_render_http_error)
    standin, models = StandIn(stats), Models()
    app.add_route("/health", standin, suffix="health")
    app.add_route("/_standin/stats", standin, suffix="stats")
    if "responses" in wires:
        containers = Containers(_folder(), library)
        app.add_route("/v1/responses", Wire(stats, "responses", partial(_responses, containers)))
        ContainerResources(containers).add_to(app)
    if "chat" in wires:
        app.add_route("/v1/chat/completions", Wire(stats, "chat_completions", _chat))
    app.add_route("/_standin/faults", faults)
    _add_library(app, library)
    app.add_route("/v1/embeddings", Embeddings(stats))
    app.add_route("/v1/models", models)
    app.add_route("/v1/models/{name}", models, suffix="one")
    return app


def _folder() -> Path:
    """Where files are kept, those of an earlier stand-in being removed; a temporary one if the environment names none."""
    return Path(os.environ.get("STANDIN_FOLDER") or tempfile.mkdtemp(prefix="longshore-openai-"))


def _add_library(app: falcon.App[Any, Any], library: Library) -> None:
    files, stores, stored = Files(library), VectorStores(library), VectorStoreFiles(library)
    app.add_route("/_standin/library", Control(library))
    app.add_route("/v1/files", files)
    app.add_route("/v1/files/{file_id}", files, suffix="one")
    app.add_route("/v1/files/{file_id}/content", files, suffix="content")
    app.add_route("/v1/vector_stores", stores)
    app.add_route("/v1/vector_stores/{store_id}", stores, suffix="one")
    app.add_route("/v1/vector_stores/{store_id}/search", stores, suffix="search")
    app.add_route("/v1/vector_stores/{store_id}/files", stored)
    app.add_route("/v1/vector_stores/{store_id}/files/{file_id}", stored, suffix="one")


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 1735689600, "owned_by": "longshore"}


def _render_error(req: falcon.Request, resp: falcon.Response, error: ApiError, params: dict[str, Any]) -> None:
    resp.status = error.status
    resp.content_type = falcon.MEDIA_JSON
    resp.text = error.body()
    for name, value in error.headers.items():
        resp.set_header(name, value)


def _render_http_error(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """Falcon's own errors: unknown paths, methods that are not allowed, and bugs in the stand-in."""
    if error.status_code >= 500:
        message, kind = "The stand-in has a bug: see its log.", "server_error"
    else:
        message, kind = f"Invalid URL ({req.method} {req.path})", "invalid_request_error"
    rendered = invalid(message) if error.status_code == 400 else ApiError(error.status_code, message, kind=kind)
    resp.content_type = falcon.MEDIA_JSON
    resp.text = rendered.body()
