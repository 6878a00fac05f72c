# mypy: ignore-errors
"""The read endpoints: current user, agents, conversations."""

import base64
import time
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel
from sqlalchemy import select, tuple_

from devstack.bench.peers.web.auth import Caller, SignedIn, need
from devstack.bench.peers.web.database import Conversation, Membership, Tenant, User, now, reading
from devstack.bench.peers.web.settings import DECLARED_AGENTS, VERSION

router = APIRouter()
BEGAN = time.monotonic()


class Health(BaseModel):
    status: str
    timestamp: datetime
    version: str
    uptime: float


@router.get("/health", response_model=Health)
async def health() -> Any:
    return Health(status="healthy", timestamp=now(), version=VERSION, uptime=round(time.monotonic() - BEGAN, 2))


class MembershipOut(BaseModel):
    tenant_id: UUID
    slug: str
    name: str
    role: str


class UserOut(BaseModel):
    user_id: UUID
    email: str
    display_name: str | None
    status: str
    email_verified: bool
    tenant_id: UUID
    created_at: datetime
    memberships: list[MembershipOut]
    token_payload: dict[str, Any]


class Success(BaseModel):
    success: bool = True
    message: str
    data: UserOut


@router.get("/api/v1/auth/me", response_model=Success)
async def me(caller: SignedIn) -> Any:
    query = (
        select(User, Tenant.id, Tenant.slug, Tenant.name, Membership.role)
        .join(Membership, Membership.user_id == User.id)
        .join(Tenant, Membership.tenant_id == Tenant.id)
        .where(User.id == caller.user_id)
        .order_by(Tenant.slug)
    )
    async with reading() as db:
        rows = (await db.execute(query)).all()
    if not rows:
        raise HTTPException(401, "Unknown user.")
    user = rows[0][0]
    data = UserOut(
        user_id=user.id,
        email=user.email,
        display_name=user.display_name,
        status=user.status,
        email_verified=user.email_verified_at is not None,
        tenant_id=caller.tenant_id,
        created_at=user.created_at,
        memberships=[
            MembershipOut(tenant_id=tenant_id, slug=slug, name=name, role=role)
            for _, tenant_id, slug, name, role in rows
        ],
        token_payload=caller.claims,
    )
    return Success(message="Current user", data=data)


class Agent(BaseModel):
    name: str
    status: Literal["active", "inactive", "error"]
    description: str | None = None


AGENTS = [Agent(**item) for item in DECLARED_AGENTS]


@router.get("/api/v1/agents", response_model=list[Agent])
async def agents(caller: Annotated[Caller, need("tools:read")]) -> Any:
    return AGENTS


class ConversationOut(BaseModel):
    conversation_id: str
    title: str | None = None
    message_count: int
    last_message: str
    created_at: datetime
    updated_at: datetime


class Conversations(BaseModel):
    items: list[ConversationOut]
    next_cursor: str | None = None


@router.get("/api/v1/conversations", response_model=Conversations)
async def conversations(
    caller: Annotated[Caller, need("conversations:read")],
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: str | None = None,
    agent: str | None = None,
) -> Any:
    order = (Conversation.updated_at.desc(), Conversation.id.desc())
    query = select(Conversation).where(Conversation.tenant_id == caller.tenant_id, Conversation.message_count > 0)
    if not caller.is_admin:
        query = query.where(Conversation.user_id == caller.user_id)
    if agent is not None:
        query = query.where(Conversation.entry_agent == agent)
    if cursor is not None:
        query = query.where(tuple_(Conversation.updated_at, Conversation.id) < decoded(cursor))
    async with reading() as db:
        rows = (await db.scalars(query.order_by(*order).limit(limit + 1))).all()
    items = [
        ConversationOut(
            conversation_id=row.key,
            title=row.title,
            message_count=row.message_count,
            last_message=row.last_message,
            created_at=row.first_message_at,
            updated_at=row.last_message_at,
        )
        for row in rows[:limit]
    ]
    return Conversations(items=items, next_cursor=encoded(rows[limit - 1]) if len(rows) > limit else None)


def encoded(row: Conversation) -> str:
    return base64.urlsafe_b64encode(f"{row.updated_at.isoformat()}|{row.id}".encode()).decode().rstrip("=")


def decoded(cursor: str) -> tuple[datetime, UUID]:
    try:
        moment, row_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split("|")
        return datetime.fromisoformat(moment), UUID(row_id)
    except ValueError:
        raise HTTPException(400, "Invalid pagination cursor") from None
