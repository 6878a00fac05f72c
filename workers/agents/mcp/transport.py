"""HTTP to an MCP server: bounded answers, and failures that end one request and not the whole session."""

from collections.abc import AsyncIterator

import httpx2

MAX_BYTES = 10_000_000  # of one answer
UNREACHABLE = -32010  # our code for a request that did not get through, or got no answer
SESSION_ID = "mcp-session-id"


class TooLarge(httpx2.StreamError):
    """The SDK fails the one request whose answer raises it."""


class Transport(httpx2.AsyncHTTPTransport):
    """`has_lost_session`: the server does not know our session any more, so that it has not done what it was asked."""

    has_lost_session = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["Accept-Encoding"] = "identity"  # a small answer must not become a large one
        try:
            response = await super().handle_async_request(request)
        except httpx2.TransportError:
            return _failure(request, "The server cannot be reached.")
        if response.status_code in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            await response.aclose()
            return _failure(request, "The server does not accept our credentials.")
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            return _failure(request, "The server compresses its answer.")
        if response.status_code == httpx2.codes.NOT_FOUND and SESSION_ID in request.headers:
            self.has_lost_session = True
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_Bounded(response),
            extensions=response.extensions,
            request=request,
        )


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self.response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self.response.aiter_raw():
            size += len(chunk)
            if size > MAX_BYTES:
                raise TooLarge(f"more than {MAX_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self.response.aclose()


def _failure(request: httpx2.Request, message: str) -> httpx2.Response:
    """An answer that the SDK takes for the server's."""
    error = {"code": UNREACHABLE, "message": message}
    return httpx2.Response(502, json={"jsonrpc": "2.0", "id": None, "error": error}, request=request)
