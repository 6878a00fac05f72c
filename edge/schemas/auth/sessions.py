"""Login, sessions, passwords and e-mail verification."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, EmailStr, Field

from edge.schemas.common import Offset, Timestamp


def _text_or_empty(value: object) -> str:
    """The contract wants a text where a service account has no tenant."""
    return "" if value is None else str(value)


class UserLoginRequest(BaseModel):
    email: EmailStr
    password: str = Field(min_length=8)
    tenant_id: str | None = None


class UserRefreshRequest(BaseModel):
    refresh_token: str = Field(min_length=1)


class UserSessionResponse(BaseModel, from_attributes=True):
    access_token: str
    refresh_token: str
    token_type: str = "bearer"
    expires_at: Timestamp
    refresh_expires_at: Timestamp
    kid: str
    refresh_kid: str
    scopes: list[str]
    tenant_id: Annotated[str, BeforeValidator(_text_or_empty)]
    user_id: str
    email_verified: bool
    session_id: UUID


class UserLogoutRequest(BaseModel):
    refresh_token: str = Field(min_length=1)


class SessionQuery(BaseModel):
    include_revoked: bool = False
    limit: int = Field(20, ge=1, le=100)
    offset: Offset = 0
    tenant_id: UUID | None = None


class SessionClientInfo(BaseModel):
    platform: str | None = None
    browser: str | None = None
    device: str | None = None
    user_agent: str | None = None


class SessionLocationInfo(BaseModel):
    city: str | None = None
    region: str | None = None
    country: str | None = None


class UserSessionItem(BaseModel):
    id: UUID
    tenant_id: UUID
    created_at: Timestamp
    last_seen_at: Timestamp | None
    revoked_at: Timestamp | None
    ip_address_masked: str | None = None
    fingerprint: str | None = None
    client: SessionClientInfo
    location: SessionLocationInfo | None = None
    current: bool


class UserSessionListResponse(BaseModel):
    sessions: list[UserSessionItem]
    total: int
    limit: int
    offset: int


class EmailVerificationConfirmRequest(BaseModel):
    token: str = Field(min_length=1)


class PasswordForgotRequest(BaseModel):
    email: EmailStr


class PasswordResetConfirmRequest(BaseModel):
    token: str = Field(min_length=1)
    new_password: str = Field(min_length=14)


class PasswordChangeRequest(BaseModel):
    current_password: str = Field(min_length=8)
    new_password: str = Field(min_length=14)


class PasswordResetRequest(BaseModel):
    user_id: UUID
    new_password: str = Field(min_length=14)
