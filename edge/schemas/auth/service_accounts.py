"""Service account tokens."""

from enum import StrEnum

from pydantic import BaseModel, Field

from edge.schemas.common import Offset, Timestamp


class ServiceAccountIssueRequest(BaseModel):
    account: str
    scopes: list[str]
    tenant_id: str | None = None
    lifetime_minutes: int | None = None
    fingerprint: str | None = None
    force: bool = False


class BrowserServiceAccountIssueRequest(ServiceAccountIssueRequest):
    reason: str = Field(min_length=10, max_length=512)


class ServiceAccountTokenResponse(BaseModel):
    refresh_token: str
    expires_at: str
    issued_at: str
    scopes: list[str]
    tenant_id: str | None = None
    kid: str
    account: str
    token_use: str
    session_id: str | None = None


class ServiceAccountTokenStatus(StrEnum):
    ACTIVE = "active"
    REVOKED = "revoked"
    ALL = "all"


class ServiceAccountTokenQuery(BaseModel):
    account: str | None = None
    fingerprint: str | None = None
    status: ServiceAccountTokenStatus = ServiceAccountTokenStatus.ACTIVE
    tenant_id: str | None = None
    include_global: bool = False
    limit: int = Field(20, ge=1, le=100)
    offset: Offset = 0


class ServiceAccountTokenItem(BaseModel):
    jti: str
    account: str
    tenant_id: str | None = None
    scopes: list[str]
    issued_at: Timestamp
    expires_at: Timestamp
    revoked_at: Timestamp | None
    revoked_reason: str | None = None
    fingerprint: str | None = None
    signing_kid: str
    issued_by: str | None = None


class ServiceAccountTokenListResponse(BaseModel):
    items: list[ServiceAccountTokenItem]
    total: int
    limit: int = Field(ge=1, le=100)
    offset: int = Field(ge=0)


class ServiceAccountTokenRevokeRequest(BaseModel):
    reason: str | None = Field(None, max_length=256)
