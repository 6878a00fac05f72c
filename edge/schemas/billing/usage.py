"""What a tenant uses."""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from edge.schemas.common import Timestamp
from models.billing.reported_usage import MOST

LONGEST_DAYS = 400  # of a report
YEARS = (2000, 2200)


def _aware(value: datetime) -> datetime:
    if not YEARS[0] <= value.year < YEARS[1]:
        raise ValueError(f"must be in the years {YEARS[0]} to {YEARS[1] - 1}")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _storable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be printable")
    return value


Time = Annotated[datetime, AfterValidator(_aware)]
Key = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_storable)]


class UsageRecordRequest(BaseModel):
    """`idempotency_key`: of this record, within the feature. A time without a zone is in UTC."""

    feature_key: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_storable)]
    quantity: int = Field(gt=0, le=MOST, strict=True)
    idempotency_key: Key | None = None
    period_start: Time | None = None
    period_end: Time | None = None


class UsageQuery(BaseModel):
    """Both times or neither. The default is the present window of the subscription."""

    start: Time | None = None
    end: Time | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.start is None) != (self.end is None):
            raise ValueError("start and end belong together")
        if self.start and self.end and not 0 < (self.end - self.start).total_seconds() <= LONGEST_DAYS * 86_400:
            raise ValueError(f"end must be after start, by at most {LONGEST_DAYS} days")
        return self


class UsageFeatureResponse(BaseModel):
    """`used`: in the window, or, of a feature that is not metered, now. Limits are those of a whole window."""

    feature_key: str
    display_name: str | None = None
    unit: str | None = None
    is_metered: bool = True
    used: int
    soft_limit: int | None = None
    hard_limit: int | None = None


class UsageDayResponse(BaseModel):
    """`day`: its begin, in UTC. Days without use are left out."""

    feature_key: str
    day: Timestamp
    quantity: int


class UsageResponse(BaseModel):
    plan_code: str | None = None
    window_start: Timestamp
    window_end: Timestamp
    features: list[UsageFeatureResponse]
    days: list[UsageDayResponse]
