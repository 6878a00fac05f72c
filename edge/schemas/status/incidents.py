"""Schemas of what operators do about incidents. All of it is beyond the contract."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from edge.schemas.common import Timestamp
from edge.schemas.status.status import IncidentSchema
from models.status.services import MOST_SERVICES
from models.status.texts import IMPACT, TITLE, UPDATE

Kind = Literal["incident", "maintenance"]
State = Literal[
    "investigating", "identified", "monitoring", "resolved", "scheduled", "in_progress", "verifying", "completed"
]
Severity = Literal["minor", "major", "critical"]
Effects = dict[str, Literal["degraded", "incident", "maintenance"] | None]
AFFECTED = "How each affected service is, by its key: degraded, incident or maintenance. Null: as the severity says."
NOTIFY = "Whether subscribers are told. They never are of a draft."


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class IncidentCreateRequest(_Body):
    """An incident, or maintenance, with its first update."""

    kind: Kind = "incident"
    title: str = Field(min_length=1, max_length=TITLE)
    impact: str = Field(min_length=1, max_length=IMPACT, description="What people notice.")
    severity: Severity | None = Field(None, description="Of an incident; by default major.")
    services: Effects = Field(min_length=1, max_length=MOST_SERVICES, description=AFFECTED)
    state: State | None = Field(None, description="By default the first one.")
    text: str = Field(min_length=1, max_length=UPDATE, description="The first update.")
    starts_at: AwareDatetime | None = Field(None, description="By default now.")
    until: AwareDatetime | None = Field(None, description="When maintenance ends by itself.")
    draft: bool = Field(False, description="Only operators see it until it is published.")
    notify: bool = Field(True, description=NOTIFY)


class IncidentChangeRequest(_Body):
    """What is to be corrected. Nobody is told."""

    title: str | None = Field(None, min_length=1, max_length=TITLE)
    impact: str | None = Field(None, min_length=1, max_length=IMPACT)
    severity: Severity | None = None
    services: Effects | None = Field(None, min_length=1, max_length=MOST_SERVICES, description=AFFECTED)
    starts_at: AwareDatetime | None = None
    until: AwareDatetime | None = None


class IncidentUpdateRequest(_Body):
    """How it goes on. What is null stays as it is."""

    text: str = Field(min_length=1, max_length=UPDATE)
    state: State | None = None
    notify: bool = Field(True, description=NOTIFY)
    impact: str | None = Field(None, min_length=1, max_length=IMPACT)
    severity: Severity | None = None
    services: Effects | None = Field(None, min_length=1, max_length=MOST_SERVICES, description=AFFECTED)
    until: AwareDatetime | None = None


class IncidentPublishRequest(_Body):
    notify: bool = Field(True, description="Whether subscribers are told of its newest update.")


class IncidentsQuery(BaseModel):
    kind: Kind | None = None
    draft: bool | None = Field(None, description="Only drafts, or only what is published.")
    open: bool | None = Field(None, description="Only what goes on, or only what has ended.")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class IncidentDetail(IncidentSchema):
    """`version`: counts the changes; an `ETag` names it."""

    published_at: Timestamp | None = Field(None, description="Null for a draft.")
    probe: str | None = Field(None, description="The service whose probe has opened it. For operators only.")
    version: int


class IncidentListResponse(BaseModel):
    items: list[IncidentDetail]
    next_cursor: str | None = None
