"""What sending a page costs at least: a Falcon application that answers with bytes it holds, on the same gunicorn."""

import os
from pathlib import Path
from typing import Any

import falcon
import httpx

from devstack.bench.launch import launch
from devstack.process import free_port, responds, wait_for
from devstack.stack import Stack

PATH, FILE = "/", "BARE_PAGE"


class Page:
    def __init__(self) -> None:
        self.body = Path(os.environ[FILE]).read_bytes()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:  # noqa: ARG002  (Falcon passes both)
        resp.content_type, resp.data = falcon.MEDIA_HTML, self.body


def create_app() -> "falcon.App[Any, Any]":
    app: falcon.App[Any, Any] = falcon.App()
    app.add_route(PATH, Page())
    return app


def start(stack: Stack, like: str) -> tuple[str, int]:
    """(URL, pid) of such a process, which answers with as many bytes as the page `like`, gzipped."""
    with httpx.stream("GET", like, headers={"Accept-Encoding": "gzip"}) as answer:
        body = b"".join(answer.raise_for_status().iter_raw())
    file = stack.state / "bare.page"
    file.write_bytes(body)
    config, port = Path(__file__).with_name("bare_gunicorn.py"), free_port()
    command = f'exec gunicorn --config "{config}" "devstack.bench.peers.bare_page:create_app()"'
    process = launch(stack, "bare", command, stack.env | {"PORT": str(port), FILE: str(file)})
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: responds(url), process, "the bare page")
    return url, process.pid
