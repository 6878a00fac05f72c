"""The contact form, and its messages as operators see them."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, EmailStr, Field
from pydantic_core import PydanticCustomError

from edge.schemas.common import Timestamp

SHORTEST_MESSAGE = 10


def _not_blank(value: str) -> str:
    if len(value.strip()) < SHORTEST_MESSAGE:
        text = f"At least {SHORTEST_MESSAGE} characters are needed, blanks around them not counted."
        raise PydanticCustomError("blank", text)
    return value


class ContactSubmissionRequest(BaseModel):
    name: str | None = Field(None, max_length=120)
    email: EmailStr
    company: str | None = Field(None, max_length=120)
    topic: str | None = Field(None, max_length=80)
    message: Annotated[str, Field(min_length=SHORTEST_MESSAGE, max_length=2000), AfterValidator(_not_blank)]
    honeypot: str | None = Field(None, max_length=64)


class ContactMessageState(StrEnum):
    OPEN = "open"
    ASSIGNED = "assigned"
    CLOSED = "closed"
    SUPPRESSED = "suppressed"


class ContactMessagesQuery(BaseModel):
    state: ContactMessageState | None = None
    email: str | None = Field(None, max_length=320)
    assignee: str | None = Field(None, max_length=320)
    limit: int = Field(25, ge=1, le=100)
    cursor: str | None = None


class ContactMessageResponse(BaseModel, from_attributes=True):
    """`state`: open, assigned, closed or suppressed, which is what a robot sent. `mailed_at`: when the first of those who
    answer got it by mail; null: nobody yet."""

    id: UUID
    created_at: Timestamp
    updated_at: Timestamp
    state: str
    email: str
    name: str | None = None
    company: str | None = None
    topic: str | None = None
    message: str
    ip: str | None = None
    user_agent: str | None = None
    assignee: str | None = None
    mailed_at: Timestamp | None = None
    closed_at: Timestamp | None = None


class ContactMessagesResponse(BaseModel):
    items: list[ContactMessageResponse]
    next_cursor: str | None = None


class ContactAssignRequest(BaseModel):
    """`assignee`: a name or an address; null: the caller. `take_over`: also from somebody else."""

    assignee: Annotated[str, Field(min_length=1, max_length=320)] | None = None
    take_over: bool = False
