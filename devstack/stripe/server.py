"""The HTTP server of Stripe's stand-in. README.md says how to start it and what it supports."""

import json
import os
import socket
from collections import defaultdict
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import falcon
import gevent
from gunicorn import util

from devstack.stripe import control, endpoints, faults, idempotency, lists, pages
from devstack.stripe.errors import ApiError, malformed, unauthorized, unknown_url
from devstack.stripe.expand import expand, hide
from devstack.stripe.form import Params, parse
from devstack.stripe.idempotency import Replay
from devstack.stripe.routes import OPERATIONS, Operation
from devstack.stripe.shapes import API_VERSION, Object
from devstack.stripe.store import Store, new_id
from devstack.stripe.time_machine import TimeMachine
from devstack.stripe.webhooks import Sender
from devstack.stripe.world import World


class _Computed(Exception):
    """Carries the answer out of what is undone."""

    def __init__(self, answer: Object) -> None:
        super().__init__()
        self.answer = answer


class Resource:
    """One path of the API, with an operation per method."""

    def __init__(self, api: "Api", operations: list[Operation]) -> None:
        self.api, self.operations = api, {operation.method: operation for operation in operations}

    def _on(self, req: falcon.Request, resp: falcon.Response, **ids: str) -> None:
        operation = self.operations.get(req.method)
        if operation is None:
            raise unknown_url(req.method, req.path)
        self.api.answer(req, resp, operation, list(ids.values()))

    on_get = on_post = on_delete = _on


class Api:
    """Everything under /v1."""

    def __init__(self, store: Store, url: str, key: str, machine: TimeMachine, sender: Sender) -> None:
        self.store, self.url, self.key, self.machine, self.sender = store, url, key, machine, sender

    def answer(self, req: falcon.Request, resp: falcon.Response, operation: Operation, ids: list[str]) -> None:
        params = Params(parse(_form(req)))
        params.only(operation.fields)
        request: Object = {"id": resp.get_header("Request-Id"), "idempotency_key": None}
        fault = faults.of_header(req.get_header(faults.HEADER)) or faults.next_for(self.store, req.method, req.path)
        key = req.get_header("Idempotency-Key") if req.method == "POST" else None
        if key:
            request["idempotency_key"] = key
            resp.set_header("Idempotency-Key", key)
            resp.set_header("Original-Request", request["id"])
            mark, now = idempotency.fingerprint(req.path, params.form), World(self.store, self.url).now()
            idempotency.begin(self.store, key, req.path, mark, request["id"], now)
        try:
            self._before(req, fault)
            status, body = self._execute(operation, params, ids, request, req.path)
        finally:
            if key:
                idempotency.release(self.store, key)
            self.sender.wake()
        if fault and fault.kind == "lost":
            _hang_up(req)
        _send(resp, status, body)
        if operation.path.endswith("/advance") and status == 200:
            self.machine.start(ids[0])

    def _before(self, req: falcon.Request, fault: faults.Fault | None) -> None:
        """The faults that come before the request is executed."""
        if fault is None:
            return
        if fault.kind in ("slow", "timeout"):
            gevent.sleep(fault.seconds)
        if fault.kind == "timeout":
            _hang_up(req)
            raise ApiError(500, "The connection was closed on request.", stored=False)
        fault.raise_status()

    def _execute(
        self, operation: Operation, params: Params, ids: list[str], request: Object, path: str
    ) -> tuple[int, Object]:
        """(status, body). What was done and what its key answers from now on are kept together, or neither is."""
        world = World(self.store, self.url, request)
        key = request["idempotency_key"]
        with self.store.transaction():
            try:
                with self.store.savepoint():
                    status, body = 200, self._run(world, operation, params, ids, path)
            except _Computed as computed:
                body = computed.answer
                status = 200
            except ApiError as error:
                if not error.stored:
                    raise
                status, body = error.status, error.body()
            if key:
                idempotency.keep(self.store, key, status, body)
        return status, body

    def _run(self, world: World, operation: Operation, params: Params, ids: list[str], path: str) -> Object:
        result = operation.run(world, params, *ids)
        answer = lists.page(world, params, result, path) if isinstance(result, Iterator) else hide(world.shown(result))
        expand(world, answer, params.texts("expand"))
        if operation.undone:
            raise _Computed(answer)
        return answer


def _form(req: falcon.Request) -> str:
    body = req.bounded_stream.read().decode(errors="replace") if req.method == "POST" else ""
    return f"{req.query_string}&{body}" if req.query_string and body else body or req.query_string


def _hang_up(req: falcon.Request) -> None:
    """Close the connection: the client gets no answer."""
    sock = req.env.get("gunicorn.socket")
    if sock is None:
        raise ConnectionAbortedError("the connection can be closed under gunicorn only")
    sock.shutdown(socket.SHUT_RDWR)


def _send(resp: falcon.Response, status: int, body: Object) -> None:
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.text = json.dumps(body, indent=2)
    if 400 <= status < 500 and status != 429:
        resp.set_header("Stripe-Should-Retry", "true" if status == 409 else "false")


class Authentication:
    """Middleware: gives every answer its headers, and requires the key under /v1."""

    def __init__(self, key: str) -> None:
        self.key = key

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.set_header("Request-Id", new_id("req_", 14))
        resp.set_header("Stripe-Version", API_VERSION)
        if req.path.startswith("/v1/"):
            given = (req.auth or "").removeprefix("Bearer ").strip()
            if given != self.key:
                raise unauthorized(given)
            if (version := req.get_header("Stripe-Version")) not in (None, API_VERSION):
                raise malformed(f"Invalid Stripe API version: {version}. The stand-in speaks {API_VERSION} only.")


def create_app(folder: str | None = None) -> falcon.App[Any, Any]:
    """The WSGI application, for one process. The environment says the rest:

    STANDIN_FOLDER         where the account is stored
    STANDIN_URL            its own address, for links to its pages
    STANDIN_KEY            the API key that it accepts
    STANDIN_WEBHOOK_URL    where it sends all events; empty: nowhere
    STANDIN_WEBHOOK_SECRETS what it signs them with, separated by commas
    """
    store = Store(Path(folder or os.environ["STANDIN_FOLDER"]) / "account.sqlite")
    url, key = os.environ["STANDIN_URL"], os.environ["STANDIN_KEY"]
    with store.transaction():
        idempotency.tidy(store, World(store, url).now())
        if target := os.environ.get("STANDIN_WEBHOOK_URL"):
            secrets = os.environ["STANDIN_WEBHOOK_SECRETS"].split(",")
            endpoints.register(World(store, url), target, secrets)
    sender, machine = Sender(store), TimeMachine(store, url)
    _tell_time(store, url)
    app = falcon.App(middleware=[Authentication(key)])
    app.add_error_handler(ApiError, _render_error)
    app.add_error_handler(Replay, _replay)
    app.set_error_serializer(_render_http_error)
    api = Api(store, url, key, machine, sender)
    by_path: dict[str, list[Operation]] = defaultdict(list)
    for operation in OPERATIONS:
        by_path[operation.path].append(operation)
    for path, operations in by_path.items():
        app.add_route(path, Resource(api, operations))
    pages.add_routes(app, store, url, sender)
    control.add_routes(app, store, url, machine, sender)
    gevent.spawn(sender.run)
    gevent.spawn(machine.run)
    return app


def _tell_time(store: Store, url: str) -> None:
    """The header Date tells the account's time, as the times in events do. gunicorn sets it, and has no setting for that."""

    def date(timestamp: float | None = None) -> str:
        return formatdate(World(store, url).now() if timestamp is None else timestamp, usegmt=True)

    util.http_date = date


def _render_error(req: falcon.Request, resp: falcon.Response, error: ApiError, params: dict[str, Any]) -> None:
    _send(resp, error.status, error.body())


def _replay(req: falcon.Request, resp: falcon.Response, replay: Replay, params: dict[str, Any]) -> None:
    _send(resp, replay.status, replay.body)
    resp.set_header("Idempotent-Replayed", "true")
    resp.set_header("Original-Request", replay.request)


def _render_http_error(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """Falcon's own errors: unknown paths, and bugs in the stand-in."""
    if error.status_code >= 500:
        rendered = ApiError(500, "The stand-in has a bug: see its log.", kind="api_error")
    else:
        rendered = unknown_url(req.method, req.path)
    resp.content_type = falcon.MEDIA_JSON
    resp.text = json.dumps(rendered.body())
