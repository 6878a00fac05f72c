# mypy: ignore-errors
"""`uvicorn devstack.bench.peers.web.app:app`."""

import re
import time
from uuid import uuid4

from fastapi import FastAPI

from devstack.bench.peers.web import chat, rest, streams

CORRELATION_ID = re.compile(rb"[A-Za-z0-9._:-]{8,128}")
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class Envelope:
    """Correlation id, timing and security headers, as plain ASGI: Starlette's BaseHTTPMiddleware would cost far more."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        given = dict(scope["headers"]).get(b"x-correlation-id", b"")
        correlation_id = given if CORRELATION_ID.fullmatch(given) else str(uuid4()).encode()

        async def answer(message):
            if message["type"] == "http.response.start":
                took = b"%.4f" % (time.perf_counter() - began)
                timing = [(b"x-correlation-id", correlation_id), (b"x-process-time", took)]
                message["headers"] = [*message["headers"], *SECURITY, *timing]
            await send(message)

        await self.app(scope, receive, answer)


app = FastAPI(title="peer", openapi_url=None)
app.add_middleware(Envelope)
for part in (rest, chat, streams):
    app.include_router(part.router)
