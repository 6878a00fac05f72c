# mypy: ignore-errors
"""Authenticates a bearer token: checks its signature, its claims, and that the session has not ended."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import jwt
import redis.asyncio as redis
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select

from devstack.bench.peers.web.database import Session, reading
from devstack.bench.peers.web.settings import AUDIENCE, ISSUER, KEY_FILE, REDIS_URL

ADMINS = {"admin", "owner"}
ALIVE_SECONDS = 60
bearer = HTTPBearer(auto_error=False)
cache = redis.Redis.from_url(REDIS_URL, socket_timeout=2, max_connections=20_000)


@dataclass(frozen=True, slots=True)
class Caller:
    user_id: UUID
    tenant_id: UUID
    scopes: frozenset[str]
    is_admin: bool
    claims: dict[str, Any]


def load_keys() -> dict[str, Any]:
    """The public keys by key id."""
    keys = {}
    for item in json.loads(Path(KEY_FILE).read_text())["keys"]:
        if "private_key" in item:
            keys[item["kid"]] = load_pem_private_key(item["private_key"].encode(), None).public_key()
        else:
            keys[item["kid"]] = load_pem_public_key(item["public_key"].encode())
    return keys


KEYS = load_keys()


def verify(token: str) -> dict[str, Any]:
    return jwt.decode(
        token,
        KEYS[jwt.get_unverified_header(token)["kid"]],
        algorithms=["EdDSA"],
        audience=AUDIENCE,
        issuer=ISSUER,
        leeway=30,
        options={"require": ["exp", "iat", "sub"]},
    )


async def is_alive(session_id: str) -> bool:
    """Look up the session in Redis, then in Postgres."""
    key = f"session:{session_id}"
    state = await cache.get(key)
    if state is not None:
        return state == b"1"
    async with reading() as db:
        open_ = select(Session.id).where(Session.id == UUID(session_id), Session.revoked_at.is_(None))
        alive = (await db.execute(open_)).first() is not None
    if alive:
        await cache.set(key, b"1", ex=ALIVE_SECONDS, nx=True)
    return alive


async def signed_in(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Caller:
    if credentials is None:
        raise HTTPException(401, "Not authenticated")
    try:
        claims = verify(credentials.credentials)
        user_id, tenant_id = UUID(claims["sub"].removeprefix("user:")), UUID(claims["tenant_id"])
    except (jwt.PyJWTError, KeyError, ValueError):
        raise HTTPException(401, "Could not validate credentials") from None
    if claims.get("token_use") != "access" or not await is_alive(claims["sid"]):
        raise HTTPException(401, "The session has ended. Sign in again.")
    is_admin = bool(ADMINS & set(claims.get("roles") or ()))
    return Caller(user_id, tenant_id, frozenset(claims.get("scope", "").split()), is_admin, claims)


SignedIn = Annotated[Caller, Depends(signed_in)]


def need(scope: str):
    """Require a token with this scope and a verified e-mail address."""

    async def check(caller: SignedIn) -> Caller:
        if scope not in caller.scopes or not caller.claims.get("email_verified"):
            raise HTTPException(403, "Insufficient scopes for this operation.")
        return caller

    return Depends(check)
