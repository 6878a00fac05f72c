"""Chat: the question, the answer, and the events of a stream."""

import json
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, field_validator

from edge.schemas.common import MessageAttachment
from models.conversations.attachments import MOST
from workers.agents.catalog import catalog

MESSAGE_CHARACTERS = 100_000
CONTEXT_BYTES = 16_384
ATTACHMENTS = (
    "Ids of stored objects: images, which the model is shown, and documents, which it reads. Beyond the contract."
)
ANNOTATIONS = "What the text cites: `file_citation` and the provider's own kinds. Beyond the contract."
HANDOFF_FILTERS = ("full", "fresh", "last_turn", "remove_all_tools")
# The settings that clients may change, each with a range that every provider accepts
MODEL_SETTINGS = {"temperature": (0, 2), "top_p": (0, 1), "max_output_tokens": (16, 1_000_000)}


class LocationHint(BaseModel):
    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None

    def non_blank(self) -> dict[str, str]:
        """The parts that are not blank, trimmed and cut to 128 characters."""
        parts = {name: (value or "").strip()[:128] for name, value in self.model_dump().items()}
        return {name: value for name, value in parts.items() if value}


class RunOptionsRequest(BaseModel):
    max_turns: int | None = None
    previous_response_id: str | None = None
    handoff_input_filter: str | None = None
    run_config: dict[str, Any] | None = None

    @field_validator("max_turns")
    @classmethod
    def _turns(cls, value: int | None) -> int | None:
        if value is not None:
            _require_within("max_turns", value, 1, 50)
        return value

    @field_validator("handoff_input_filter")
    @classmethod
    def _filter(cls, value: str | None) -> str | None:
        if value is not None and value not in HANDOFF_FILTERS:
            raise ValueError(f"must be one of {', '.join(HANDOFF_FILTERS)}")
        return value

    @field_validator("run_config")
    @classmethod
    def _config(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for name, setting in (value or {}).items():
            if name == "model":
                if not isinstance(setting, str) or setting not in catalog().models():
                    raise ValueError("model: not one that may be asked for here")
            elif name == "model_settings":
                _check_model_settings(setting)
            else:
                raise ValueError(f"{name[:64]}: unknown, or not open to clients")
        return value


def _check_model_settings(model_settings: Any) -> None:
    if not isinstance(model_settings, dict):
        raise ValueError("model_settings: must be an object")
    for name, value in model_settings.items():
        if name not in MODEL_SETTINGS:
            raise ValueError(f"model_settings.{name[:64]}: unknown, or not open to clients")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"model_settings.{name}: must be a number")
        if name == "max_output_tokens" and not isinstance(value, int):
            raise ValueError("model_settings.max_output_tokens: must be a whole number")
        _require_within(f"model_settings.{name}", value, *MODEL_SETTINGS[name])


def _require_within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: must be between {low} and {high}")


class Question(BaseModel):
    """What all requests that start a run have."""

    message: str
    conversation_id: str | None = Field(
        None, description="Of a conversation to go on with, or any id for a new one. Without it a new one gets an id."
    )
    location: LocationHint | None = Field(None, description="Where the user is; used only if share_location is true.")
    attachments: list[UUID] = Field(default_factory=list, max_length=MOST, description=ATTACHMENTS)

    @field_validator("message")
    @classmethod
    def _message(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        if len(value) > MESSAGE_CHARACTERS:
            raise ValueError(f"may have {MESSAGE_CHARACTERS} characters at most")
        return value

    @field_validator("conversation_id")
    @classmethod
    def _conversation(cls, value: str | None) -> str | None:
        if value is not None and not 1 <= len(value) <= 255:
            raise ValueError("must have 1 to 255 characters")
        if value == "search":
            raise ValueError("search: is the name of an endpoint")
        return value

    def shared_location(self, share: bool | None) -> dict[str, str]:
        """The location, if the client shares it."""
        return self.location.non_blank() if share and self.location else {}


class AgentChatRequest(Question):
    agent_type: str | None = Field("triage", description="The name of the agent; null or empty: the default agent.")
    context: dict[str, Any] | None = Field(None, description="What the client wants to keep with the run.")
    share_location: bool = False
    run_options: RunOptionsRequest | None = None

    @field_validator("context")
    @classmethod
    def _context(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and len(json.dumps(value)) > CONTEXT_BYTES:
            raise ValueError(f"may have {CONTEXT_BYTES} bytes of JSON at most")
        return value

    def options(self) -> dict[str, Any]:
        """What the run stores of the request besides its message."""
        location = self.shared_location(self.share_location)
        run_options = self.run_options.model_dump(exclude_none=True) if self.run_options else {}
        options = {"location": location, "run_options": run_options, "context": self.context}
        return {name: value for name, value in options.items() if value}


class AgentChatResponse(BaseModel):
    response: str
    structured_output: Any | None = None
    conversation_id: str
    agent_used: str
    handoff_occurred: bool = False
    attachments: list[MessageAttachment] = Field(default_factory=list)
    annotations: list[dict[str, Any]] = Field(default_factory=list, description=ANNOTATIONS)
    metadata: dict[str, Any] | None = None


class StreamingEvent(BaseModel):
    """What the events of all runs have."""

    kind: Literal["raw_response", "run_item", "agent_update", "usage", "error", "lifecycle"]
    agent_used: str | None = None
    response_id: str | None = None
    sequence_number: int | None = None
    raw_type: str | None = None
    run_item_name: str | None = None
    run_item_type: str | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    agent: str | None = None
    new_agent: str | None = None
    text_delta: str | None = None
    reasoning_delta: str | None = None
    structured_output: Any | None = None
    is_terminal: bool = False
    event: str | None = None
    payload: dict[str, Any] | None = None


class StreamingChatEvent(StreamingEvent):
    conversation_id: str
    response_text: Any | None = None
    attachments: list[MessageAttachment] | None = None
