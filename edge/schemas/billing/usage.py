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


def _key(longest: int) -> AfterValidator:
    def check(value: str) -> str:
        if not 1 <= len(value) <= longest or not value.isprintable():
            raise ValueError(f"must have 1 to {longest} printable characters")
        return value

    return AfterValidator(check)


def _countable(value: int) -> int:
    if value > MOST:
        raise ValueError(f"must be at most {MOST:_}")
    return value


# The contract's document knows none of these limits but quantity > 0.
Time = Annotated[datetime, AfterValidator(_aware)]


class UsageRecordRequest(BaseModel):
    """`idempotency_key`: of this record, within the feature. A time without a zone is in UTC."""

    feature_key: Annotated[str, _key(64)]
    quantity: Annotated[int, Field(gt=0, strict=True), AfterValidator(_countable)]
    idempotency_key: Annotated[str, _key(255)] | None = None
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
    """`used`: in the window, or, of a feature that is not metered, now; of a limit for each store or each file, by the fullest
    store or the largest file. Limits are those of a whole window."""

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
