"""Signup policy, registration, requests for access, and invites."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, EmailStr, Field
from pydantic_core import PydanticCustomError

from edge.schemas.auth.sessions import UserSessionResponse
from edge.schemas.common import Offset, Timestamp


def _accepted(value: bool) -> bool:
    if not value:
        raise PydanticCustomError("terms_not_accepted", "The terms must be accepted.")
    return value


def _not_blank(value: str) -> str:
    if len(value.strip()) < 2:
        raise PydanticCustomError("blank", "At least two characters that are not blank are needed.")
    return value.strip()


Accepted = Annotated[bool, AfterValidator(_accepted)]
Name = Annotated[str, Field(min_length=2, max_length=128), AfterValidator(_not_blank)]


class SignupAccessPolicyResponse(BaseModel, from_attributes=True):
    policy: str
    invite_required: bool
    request_access_enabled: bool


class UserRegisterRequest(BaseModel):
    email: EmailStr
    password: str = Field(min_length=14)
    tenant_name: Name
    display_name: str | None = None
    plan_code: str | None = None
    trial_days: int | None = Field(None, ge=0, le=365)
    accept_terms: Accepted = Field(False, validate_default=True)
    invite_token: str | None = None


class UserRegisterResponse(UserSessionResponse):
    tenant_slug: str


class SignupRequestPublicRequest(BaseModel):
    email: EmailStr
    organization: Name
    full_name: Name
    message: str | None = Field(None, max_length=1000)
    accept_terms: Accepted
    honeypot: str | None = None


class SignupRequestStatus(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class SignupInviteStatus(StrEnum):
    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"


class SignupRequestQuery(BaseModel):
    status: SignupRequestStatus | None = None
    limit: int = Field(50, ge=1, le=200)
    offset: Offset = 0


class InviteQuery(BaseModel):
    status: SignupInviteStatus | None = None
    email: str | None = None
    request_id: UUID | None = None
    limit: int = Field(50, ge=1, le=200)
    offset: Offset = 0


class SignupRequestResponse(BaseModel, from_attributes=True):
    id: UUID
    email: EmailStr
    organization: str | None
    full_name: str | None
    status: str
    created_at: Timestamp
    decision_reason: str | None = None
    invite_token_hint: str | None = None
    message: str | None = None
    decided_at: Timestamp | None = None
    decided_by: str | None = None


class SignupRequestListResponse(BaseModel):
    requests: list[SignupRequestResponse]
    total: int


class SignupInviteIssueRequest(BaseModel):
    invited_email: EmailStr | None = None
    max_redemptions: int = Field(1, ge=1, le=10)
    expires_in_hours: Annotated[int, Field(ge=1, le=336)] | None = 72
    note: str | None = Field(None, max_length=512)
    signup_request_id: UUID | None = None


class SignupInviteResponse(BaseModel):
    id: UUID
    token_hint: str
    invited_email: EmailStr | None = None
    status: str
    max_redemptions: int
    redeemed_count: int
    expires_at: Timestamp | None = None
    created_at: Timestamp
    signup_request_id: UUID | None = None
    note: str | None = None


class SignupInviteIssueResponse(SignupInviteResponse):
    invite_token: str


class SignupInviteListResponse(BaseModel):
    invites: list[SignupInviteResponse]
    total: int


class SignupRequestApprovalRequest(BaseModel):
    note: str | None = Field(None, max_length=512)
    invite_expires_in_hours: Annotated[int, Field(ge=1, le=336)] | None = 72


class SignupRequestRejectionRequest(BaseModel):
    reason: str | None = Field(None, max_length=512)


class SignupRequestDecisionResponse(BaseModel):
    request: SignupRequestResponse
    invite: SignupInviteIssueResponse | None = None
