"""What accepting a webhook costs at least: a responder that checks the signature and does one INSERT, on the same gunicorn."""

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import falcon
from gevent.lock import BoundedSemaphore
from psycopg2.pool import ThreadedConnectionPool

from devstack.bench.launch import launch
from devstack.process import free_port, responds, wait_for
from devstack.stack import Stack

CONNECTIONS = 10  # as many as the edge has at most, by DATABASE_POOL_SIZE
TABLE = "create table if not exists bare_event (id text primary key, payload jsonb not null)"
INSERT = "insert into bare_event values (%s, %s) on conflict do nothing"


class Webhook:
    def __init__(self) -> None:
        self.pool = ThreadedConnectionPool(1, CONNECTIONS, os.environ["DATABASE_URL"])
        self.slots = BoundedSemaphore(CONNECTIONS)
        self.key = os.environ["STRIPE_WEBHOOK_SECRET"].encode()
        self._execute(TABLE, ())

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:  # noqa: ARG002  (Falcon passes both)
        resp.media = {"success": True}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        raw = req.bounded_stream.read()
        parts = dict(part.split("=", 1) for part in (req.get_header("Stripe-Signature") or "").split(","))
        ours = hmac.new(self.key, parts["t"].encode() + b"." + raw, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(ours, parts["v1"]):
            raise falcon.HTTPBadRequest()
        self._execute(INSERT, (json.loads(raw)["id"], raw.decode()))
        resp.status, resp.media = 202, {"success": True, "duplicate": False}

    def _execute(self, statement: str, values: tuple[str, ...]) -> None:
        with self.slots:
            connection = self.pool.getconn()
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute(statement, values)
            finally:
                self.pool.putconn(connection)


def create_app() -> "falcon.App[Any, Any]":
    app: falcon.App[Any, Any] = falcon.App()
    app.add_route("/webhooks/stripe", Webhook())
    return app


def start(stack: Stack) -> tuple[str, int]:
    """(URL, pid) of one such process."""
    config = Path(__file__).with_name("bare_gunicorn.py")
    port = free_port()
    command = f'exec gunicorn --config "{config}" "devstack.bench.peers.bare_webhook:create_app()"'
    process = launch(stack, "bare", command, stack.env | {"PORT": str(port)})
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: responds(f"{url}/webhooks/stripe"), process, "the bare webhook")
    return url, process.pid
