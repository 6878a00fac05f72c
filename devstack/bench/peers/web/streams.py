# mypy: ignore-errors
"""A run's progress as server-sent events, the usual way: each client has its own blocking XREAD."""

from collections.abc import AsyncIterator
from uuid import UUID

import redis.asyncio as redis
from fastapi import APIRouter, HTTPException
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from devstack.bench.peers.web.auth import SignedIn
from devstack.bench.peers.web.database import Run, reading
from devstack.bench.peers.web.settings import REDIS_URL

router = APIRouter()
SILENCE_MS, BATCH = 15_000, 500
client = redis.Redis.from_url(REDIS_URL, max_connections=20_000, socket_timeout=SILENCE_MS / 1000 + 5)


@router.get("/api/v1/runs/{run_id}/stream")
async def stream(run_id: UUID, caller: SignedIn, after: int = 0) -> StreamingResponse:
    visible = select(Run.id).where(Run.id == run_id, Run.tenant_id == caller.tenant_id)
    if not caller.is_admin:
        visible = visible.where(Run.user_id == caller.user_id)
    async with reading() as db:
        if await db.scalar(visible) is None:
            raise HTTPException(404, "Run not found.")
    headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
    return StreamingResponse(follow(run_id, after), media_type="text/event-stream", headers=headers)


async def follow(run_id: UUID, after: int) -> AsyncIterator[bytes]:
    key, last = f"run:{run_id}", f"{after}-0"
    yield b": open\n\n"
    while True:
        entries = entries_of(await client.xread({key: last}, count=BATCH, block=SILENCE_MS))
        if not entries:
            yield b": alive\n\n"
            continue
        yield b"".join(
            b"id: %d\nevent: %b\ndata: %b\n\n" % (int(entry_id[:-2]), fields[b"k"], fields[b"e"])
            for entry_id, fields in entries
        )
        last = entries[-1][0]
        if b"t" in entries[-1][1]:
            return


def entries_of(answer: list | dict | None) -> list:
    """The stream's entries in the reply to XREAD, for either version of the Redis protocol."""
    if not answer:
        return []
    raw = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
    return raw[0] if raw and isinstance(raw[0], list) else raw
