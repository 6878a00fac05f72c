"""One session per MCP server and process: opened when it is needed, shared by all calls, closed when nobody needs it."""

import asyncio
import logging
import time
from contextlib import nullcontext, suppress
from typing import Any, NamedTuple

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, RequestParamsMeta, Tool

from models.platform import tracing
from workers.agents.mcp import bridge
from workers.agents.mcp.transport import MAX_BYTES, UNREACHABLE, Transport
from workers.agents.mcp_servers import McpServer

log = logging.getLogger(__name__)
OPEN_SECONDS = 10.0  # that opening a session, or listing the tools, may take
LISTED_SECONDS = 300.0  # how long a list of tools is good
FAILED_SECONDS = 30.0  # how long a server that gave no list is left alone
IDLE_SECONDS = 300.0  # after which an unused session is closed
CALLS_AT_ONCE = 32  # of one server and process; further ones wait
MAX_PAGES, MAX_TOOLS = 20, 128
REASON_CHARACTERS = 500


class Unavailable(Exception):
    """The server gave no list of its tools."""


class Connection:
    """An open session. A task holds it, because it has to be closed by whoever opened it."""

    def __init__(self, server: McpServer) -> None:
        self.server, self.transport = server, Transport()
        self.client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        with tracing.hidden():  # it is of no single call
            self._task = asyncio.create_task(self._hold())

    @property
    def is_usable(self) -> bool:
        return not (self._task.done() or self._closing.is_set() or self.transport.has_lost_session)

    async def opened(self) -> Client:
        """TimeoutError, or whatever went wrong."""
        try:
            return await asyncio.wait_for(asyncio.shield(self.client), OPEN_SECONDS)
        except BaseException:
            self._task.cancel()
            raise

    async def close(self) -> None:
        self._closing.set()
        with suppress(Exception):
            await asyncio.wait_for(self._task, bridge.CLOSE_SECONDS)

    async def _hold(self) -> None:
        url, timeout = self.server.server_url or "", httpx2.Timeout(OPEN_SECONDS, read=None)
        http = httpx2.AsyncClient(transport=self.transport, headers=self.server.sent_headers(), timeout=timeout)
        try:
            async with http:
                wire = streamable_http_client(url, http_client=http, max_sse_event_size=MAX_BYTES)
                async with Client(wire) as client:
                    self.client.set_result(client)
                    await self._closing.wait()
        except Exception as error:  # noqa: BLE001  (whoever waits for the session raises it)
            if self.client.done():
                log.warning("mcp.session_lost", extra={"server": self.server.name, "reason": _reason(error)})
            else:
                self.client.set_exception(error)


class Listed(NamedTuple):
    """`tools` is None if the server gave no list. `until`: when to ask again, by the monotonic clock."""

    tools: list[Tool] | None
    until: float


class Session:
    """All of this runs in the loop of the bridge, except `fresh`."""

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self.listed: Listed | None = None
        self._connection: Connection | None = None
        self._opening, self._listing = asyncio.Lock(), asyncio.Lock()
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)
        self._in_use = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closer: asyncio.Task[None] | None = None

    def fresh(self) -> Listed | None:
        """What is known of the server's tools, None if it has to be asked."""
        return self.listed if self.listed and self.listed.until > time.monotonic() else None

    async def tools(self) -> list[Tool]:
        """The server's tools, at most LISTED_SECONDS old; older ones if it does not answer now. Unavailable."""
        async with self._listing:
            listed = self.fresh()
            if listed is None:
                listed = self.listed = await self._list()
        if listed.tools is None:
            raise Unavailable(self.server.name)
        return listed.tools

    async def call(
        self, name: str, arguments: dict[str, Any], seconds: float, meta: RequestParamsMeta | None
    ) -> CallToolResult:
        """MCPError for whatever the server, or the way to it, refuses. A call is sent once, unless the server has surely not
        run it because it has forgotten our session."""
        async with self._slots:
            connection = await self._open()
            try:
                return await self._call(connection, name, arguments, seconds, meta)
            except MCPError:
                if not connection.transport.has_lost_session:
                    raise
            return await self._call(await self._open(), name, arguments, seconds, meta)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()

    # ------------------------------------------------------------- inside

    async def _call(
        self,
        connection: Connection,
        name: str,
        arguments: dict[str, Any],
        seconds: float,
        meta: RequestParamsMeta | None,
    ) -> CallToolResult:
        client = await connection.client
        self._in_use += 1
        try:
            with nullcontext() if self.server.send_trace else tracing.hidden():  # the SDK sends it by itself
                return await client.call_tool(name, arguments, read_timeout_seconds=seconds, meta=meta)
        finally:
            self._in_use -= 1
            self._close_later()

    async def _open(self) -> Connection:
        async with self._opening:
            if self._connection and self._connection.is_usable:
                return self._connection
            await self.close()
            connection = Connection(self.server)
            try:
                await connection.opened()
            except Exception as error:
                log.warning("mcp.not_opened", extra={"server": self.server.name, "reason": _reason(error)})
                raise MCPError(UNREACHABLE, "The server cannot be reached.") from error
            self._connection = connection
            self._close_later()
            return connection

    async def _list(self) -> Listed:
        known = self.listed.tools if self.listed else None
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                found = await self._pages()
        except Exception as error:  # noqa: BLE001  (a server may fail in any way, and runs go on without it)
            log.warning("mcp.no_tools", extra={"server": self.server.name, "reason": _reason(error)})
            return Listed(known, time.monotonic() + FAILED_SECONDS)
        return Listed(found, time.monotonic() + LISTED_SECONDS)

    async def _pages(self) -> list[Tool]:
        client = await (await self._open()).client
        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            with tracing.hidden():
                page = await client.list_tools(cursor=cursor, cache_mode="refresh")
            found += [tool for tool in page.tools if self.server.offers(tool.name)]
            cursor = page.next_cursor
            if cursor is None or len(found) >= MAX_TOOLS:
                break
        if cursor or len(found) > MAX_TOOLS:
            log.warning("mcp.tools_left_out", extra={"server": self.server.name, "kept": MAX_TOOLS})
        return found[:MAX_TOOLS]

    def _close_later(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        if self._in_use:
            self._close_later()
        else:
            self._closer = asyncio.create_task(self.close())


def _reason(error: BaseException) -> str:
    """For the log. The SDK wraps errors in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:REASON_CHARACTERS]


_sessions: list[Session] = []


def session_with(server: McpServer) -> Session:
    """The session with a server, opened or not."""
    session = next((session for session in _sessions if session.server == server), None)
    if session is None:
        if not _sessions:
            bridge.at_end(_close_all)
        session = Session(server)
        _sessions.append(session)
    return session


async def _close_all() -> None:
    await asyncio.gather(*(session.close() for session in _sessions))
