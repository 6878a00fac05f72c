"""An MCP server of the official SDK, in a process of its own: `python -m tests.support.mcp_server PORT [legacy]`."""

import asyncio
import sys

from devstack.process import Process, accepts_connections, free_port, wait_for

TOKEN = "a-token-of-the-tests"


class Server:
    """`with Server(folder) as server`: it runs at `server.url`, and can be killed and started again.

    Answers that no MCP server should give are at `server.bad("huge")`, "gzip", "redirect" and "silent".
    """

    def __init__(self, folder, *options):
        self.folder, self.options, self.port = folder, options, free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "tests.support.mcp_server", str(self.port), *self.options]
        self.process = Process(command, self.folder / f"mcp-{self.port}.log")
        wait_for(lambda: accepts_connections(self.port), self.process, "the MCP server")

    def kill(self):
        self.process.stop(grace=0)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def log(self):
        return self.process.log.read_text()

    def bad(self, what):
        return self.url.replace("/mcp", f"/{what}")

    def entry(self, **more):
        """What MCP_TOOLS says of it."""
        usual = {"name": "lab", "server_label": "lab", "server_url": self.url, "run": "here"}
        return {**usual, "require_approval": "never", "authorization": TOKEN, **more}


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def serve(port, options):
    from mcp.server.mcpserver import Context, MCPServer
    from mcp_types import ToolAnnotations

    server = MCPServer("lab")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        say("called add", a, b)
        return a + b

    @server.tool()
    async def sleep(seconds: float) -> str:
        """Takes its time."""
        say("called sleep")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            say("sleep was cancelled")
            raise
        return "rested"

    @server.tool()
    def large(characters: int) -> str:
        """A long text."""
        return "x" * characters

    @server.tool()
    def fail() -> str:
        """Fails."""
        raise ValueError("inner details")

    @server.tool(name="odd name/with signs")
    def odd() -> str:
        return "odd"

    @server.tool()
    def key(context: Context) -> str:
        """The idempotency key of the call."""
        return str(dict(context.request_context.meta or {}).get("longshore/idempotency-key"))

    @server.tool()
    def trace(context: Context) -> str:
        """The trace of the call."""
        return str(dict(context.request_context.meta or {}).get("traceparent"))

    run(server.streamable_http_app(host="127.0.0.1"), port, "legacy" in options)


def run(app, port, is_legacy):
    import uvicorn

    async def guarded(scope, receive, send):
        """Says which requests come in, and refuses those without the token."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        say(scope["method"], scope["path"])
        if headers.get(b"authorization") != f"Bearer {TOKEN}".encode():
            await answer(send, 401)
        elif is_legacy and headers.get(b"mcp-protocol-version", b"") >= b"2026":
            await answer(send, 400)
        elif scope["path"] == "/mcp":
            await app(scope, receive, send)
        else:
            await misbehave(scope["path"], port, receive, send)

    uvicorn.run(guarded, host="127.0.0.1", port=port, log_level="warning", lifespan="on")


async def misbehave(path, port, receive, send):
    json = [(b"content-type", b"application/json")]
    if path == "/silent":
        await asyncio.sleep(3600)
    elif path == "/redirect":
        await answer(send, 307, [(b"location", f"http://localhost:{port}/elsewhere".encode())])
    elif path == "/gzip":
        await answer(send, 200, [*json, (b"content-encoding", b"gzip")])
    elif path == "/huge":
        await send({"type": "http.response.start", "status": 200, "headers": json})
        sent, left = 0, asyncio.create_task(receive_disconnect(receive))
        while not left.done():
            await send({"type": "http.response.body", "body": b" " * 100_000, "more_body": True})
            sent += 100_000
            await asyncio.sleep(0.001)
        say("sent", sent // 1_000_000, "MB before it was cut")


async def receive_disconnect(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def answer(send, status, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b"no"})


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
