# mypy: ignore-errors
"""The product's tables as SQLAlchemy models, and two kinds of sessions."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, Text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from devstack.bench.peers.web.settings import DATABASE_URL, POOL_SIZE

engine = create_async_engine(
    make_url(DATABASE_URL).set(drivername="postgresql+asyncpg"),
    pool_size=POOL_SIZE,
    max_overflow=0,
    pool_recycle=1800,
)
# Reads need no transaction. Without one, each read is a single round trip, as in the product.
reading = async_sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False)
writing = async_sessionmaker(engine, expire_on_commit=False)


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: TIMESTAMP(timezone=True), list[Any]: JSONB, dict[str, Any]: JSONB}


class Row(Base):
    __abstract__ = True
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Tenant(Row):
    __tablename__ = "tenant"
    slug: Mapped[str]
    name: Mapped[str]


class User(Row):
    __tablename__ = "users"
    email: Mapped[str]
    status: Mapped[str]
    display_name: Mapped[str | None]
    email_verified_at: Mapped[datetime | None]


class Membership(Row):
    __tablename__ = "membership"
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    role: Mapped[str]


class Session(Row):
    __tablename__ = "session"
    revoked_at: Mapped[datetime | None]


class Conversation(Row):
    __tablename__ = "conversation"
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID | None]
    key: Mapped[str]
    entry_agent: Mapped[str]
    active_agent: Mapped[str | None]
    title: Mapped[str | None]
    message_count: Mapped[int]
    last_message: Mapped[str] = mapped_column(Text)
    first_message_at: Mapped[datetime] = mapped_column(default=now)
    last_message_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Message(Row):
    __tablename__ = "message"
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"))
    position: Mapped[int]
    role: Mapped[str]
    agent: Mapped[str | None]
    content: Mapped[str] = mapped_column(Text)
    attachments: Mapped[list[Any]] = mapped_column(default=list)


class Run(Row):
    __tablename__ = "run"
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID | None]
