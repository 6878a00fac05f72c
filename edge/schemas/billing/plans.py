"""Plans."""

from pydantic import BaseModel, Field


class PlanFeatureResponse(BaseModel):
    """What a plan says of a feature. If it is metered, the limits hold for each period of the subscription."""

    key: str
    display_name: str
    description: str | None = None
    hard_limit: int | None = None
    soft_limit: int | None = None
    is_metered: bool = False
    unit: str | None = Field(None, description="What is counted. Beyond the contract.")
    included: int | None = Field(None, description="Units of a period that cost nothing. Beyond the contract.")
    unit_cents: str | None = Field(
        None, description="The price of one further unit, a decimal number. Beyond the contract."
    )


class BillingPlanResponse(BaseModel):
    """`price_cents`: for `interval_count` intervals with the included seats, in the currency's smallest unit."""

    code: str
    name: str
    interval: str
    interval_count: int
    price_cents: int
    currency: str
    trial_days: int | None = None
    seat_included: int | None = None
    feature_toggles: dict[str, bool] = Field(default_factory=dict)
    is_active: bool = True
    features: list[PlanFeatureResponse] = Field(default_factory=list)
    extra_seat_cents: int | None = Field(
        None, description="The price of each further seat; null: none are sold. Beyond the contract."
    )
