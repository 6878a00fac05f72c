"""Fixtures: what the end-to-end tests of clients want to find. The contract's document knows none of the upper limits."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, EmailStr, Field, model_validator

from edge.schemas.billing.usage import Time
from edge.schemas.common import Timestamp
from models.auth.email_addresses import normalize_email
from models.auth.passwords import MAX_LENGTH
from models.billing.reported_usage import MOST as LARGEST_QUANTITY

Item = TypeVar("Item")
MOST = 100  # of one kind in a list
MOST_USERS = 20  # of all tenants: each password is hashed


def _at_most(longest: int) -> AfterValidator:
    """Of a text's characters, or of a list's items."""

    def check(value: Item) -> Item:
        if len(value) > longest:  # type: ignore[arg-type]
            raise ValueError(f"may have a length of {longest} at most")
        return value

    return AfterValidator(check)


def _countable(value: int) -> int:
    if value > LARGEST_QUANTITY:
        raise ValueError(f"must be at most {LARGEST_QUANTITY:_}")
    return value


def _require_different(what: str, values: Iterable[str]) -> None:
    found = list(values)
    if len(set(found)) < len(found):
        raise ValueError(f"{what} must be different")


Email = Annotated[EmailStr, AfterValidator(normalize_email)]


class FixtureUser(BaseModel):
    """The password need not satisfy the policy."""

    email: Email
    password: Annotated[str, Field(min_length=8), _at_most(MAX_LENGTH)]
    display_name: Annotated[str, _at_most(128)] | None = None
    role: Annotated[str, Field(min_length=3), _at_most(32)] = "admin"
    verify_email: bool = True


class FixtureConversationMessage(BaseModel):
    role: Literal["user", "assistant", "system"]
    text: Annotated[str, Field(min_length=1)]


class FixtureConversation(BaseModel):
    """`key`: the id by which clients know it. `agent_entrypoint`: an agent, or `default`. `user_email`: of a user of this
    tenant, default: the first. Without messages it is in no list. Nothing is archived here: it is active either way."""

    key: Annotated[str, Field(min_length=1), _at_most(255)]
    agent_entrypoint: Annotated[str, Field(min_length=1), _at_most(64)] = "default"
    status: Literal["active", "archived"] = "active"
    user_email: Email | None = None
    messages: Annotated[list[FixtureConversationMessage], _at_most(MOST)] = Field(default_factory=list)


class FixtureUsageEntry(BaseModel):
    """It counts at `period_start`. The same entry with another quantity replaces the one before."""

    feature_key: Annotated[str, Field(min_length=1), _at_most(64)]
    quantity: Annotated[int, Field(gt=0), AfterValidator(_countable)]
    unit: Annotated[str, Field(min_length=1), _at_most(32)] = "requests"
    period_start: Time
    period_end: Time | None = None
    idempotency_key: Annotated[str, _at_most(200)] | None = None


class FixtureObject(BaseModel):
    """A text file. `conversation`: the key of a conversation of this tenant, to which it belongs. Beyond the contract."""

    filename: Annotated[str, Field(min_length=1), _at_most(128)]
    text: str
    mime_type: Literal["text/plain", "text/markdown", "text/csv", "text/html", "application/json"] = "text/plain"
    conversation: str | None = None


class FixtureTenant(BaseModel):
    """`plan_code`: it gets a subscription of this plan. `objects`: files. Beyond the contract."""

    slug: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1), _at_most(128)]
    plan_code: Annotated[str, _at_most(64)] | None = None
    billing_email: EmailStr | None = None
    users: Annotated[list[FixtureUser], _at_most(MOST_USERS)] = Field(default_factory=list)
    conversations: Annotated[list[FixtureConversation], _at_most(MOST)] = Field(default_factory=list)
    usage: Annotated[list[FixtureUsageEntry], _at_most(MOST)] = Field(default_factory=list)
    objects: Annotated[list[FixtureObject], _at_most(MOST)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> Self:
        emails, keys = [user.email for user in self.users], [one.key for one in self.conversations]
        _require_different("users", emails)
        _require_different("keys of conversations", keys)
        _require_different("names of objects", [one.filename for one in self.objects])
        if unknown := {one.user_email for one in self.conversations} - {*emails, None}:
            raise ValueError(f"user_email names nobody of this tenant: {', '.join(map(str, unknown))[:320]}")
        if unknown := {one.conversation for one in self.objects} - {*keys, None}:
            raise ValueError(f"conversation names none of this tenant: {', '.join(map(str, unknown))[:320]}")
        return self


class PlaywrightFixtureSpec(BaseModel):
    tenants: Annotated[list[FixtureTenant], _at_most(MOST)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require_different("slugs", [tenant.slug for tenant in self.tenants])
        users = [user for tenant in self.tenants for user in tenant.users]
        if len(users) > MOST_USERS:
            raise ValueError(f"all tenants together may have {MOST_USERS} users")
        if len({(user.email, user.password) for user in users}) > len({user.email for user in users}):
            raise ValueError("a user has one password in all tenants")
        return self


class FixtureUserResult(BaseModel):
    user_id: str
    role: str


class FixtureConversationResult(BaseModel):
    conversation_id: str
    status: str


class FixtureObjectResult(BaseModel):
    object_id: str
    status: str


class FixtureTenantResult(BaseModel):
    """`users`: by address, in lower case. `conversations`: by key. `objects`: by file name. Beyond the contract."""

    tenant_id: str
    plan_code: str | None
    users: dict[str, FixtureUserResult]
    conversations: dict[str, FixtureConversationResult]
    objects: dict[str, FixtureObjectResult] = Field(default_factory=dict)


class FixtureApplyResult(BaseModel):
    """`tenants`: by slug."""

    tenants: dict[str, FixtureTenantResult]
    generated_at: Timestamp


class EmailVerificationTokenRequest(BaseModel):
    """The address and the client are written to the audit log."""

    email: EmailStr
    ip_address: Annotated[str, _at_most(64)] | None = None
    user_agent: Annotated[str, _at_most(512)] | None = None


class EmailVerificationTokenResponse(BaseModel):
    token: str
    user_id: str
    expires_at: Timestamp
