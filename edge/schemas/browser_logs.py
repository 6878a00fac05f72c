"""What browsers log."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

MOST_FIELDS, LONGEST_KEY, LONGEST_TEXT = 32, 64, 2048


def _bounded(fields: dict[str, Any]) -> dict[str, Any]:
    if len(fields) > MOST_FIELDS:
        raise ValueError(f"may have {MOST_FIELDS} entries at most")
    if any(len(key) > LONGEST_KEY for key in fields):
        raise ValueError(f"keys may have {LONGEST_KEY} characters")
    return fields


class BrowserLogRequest(BaseModel):
    """`fields`: any JSON. `timestamp`: as the browser has it."""

    event: str = Field(min_length=1, max_length=128)
    level: Literal["debug", "info", "warn", "warning", "error", "critical"] = "info"
    message: str | None = Field(None, max_length=LONGEST_TEXT)
    fields: Annotated[dict[str, Any], AfterValidator(_bounded)] = Field(default_factory=dict)
    scope: str | None = Field(None, max_length=128)
    source: str | None = Field(None, max_length=128)
    timestamp: str | None = Field(None, max_length=64)


class BrowserLogResponse(BaseModel):
    accepted: bool = True
