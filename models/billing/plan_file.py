"""The plan file: what is sold, for how much, and what it allows. One TOML file is the source of the database's rows and of
Stripe's products and prices."""

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from models.platform.settings import settings
from models.runs.usage import EMBEDDING_TOKENS, INPUT_TOKENS, MESSAGES, OUTPUT_TOKENS, SEARCHES

PACKAGED = Path(__file__).with_name("plans.toml")
MOST_FEATURES = 19  # metered ones of a plan: a subscription at Stripe has at most 20 items, and one is the seats
Toggle = Literal["enable_web_search"]
# The features that this code counts (True) or limits at any time (False). A file may have further ones to be counted, whose
# usage is reported over the API.
KNOWN = {
    **dict.fromkeys((MESSAGES, INPUT_TOKENS, OUTPUT_TOKENS, EMBEDDING_TOKENS, SEARCHES), True),
    "vector.max_file_bytes": False,
    "vector.files_per_store": False,
    "vector.stores_per_tenant": False,
    "vector.total_bytes_per_tenant": False,
    "storage.total_bytes_per_tenant": False,
    "containers.per_tenant": False,
}


def _decimal(value: object) -> object:
    if isinstance(value, float):
        raise ValueError('write a fraction of a cent as a text, such as "0.25"')
    return value


Cents = Annotated[int, Field(ge=0, le=99_999_999, strict=True)]  # Stripe's largest amount
Amount = Annotated[int, Field(ge=0, le=10**15, strict=True)]
UnitCents = Annotated[Decimal, BeforeValidator(_decimal), Field(ge=0, le=10**6, decimal_places=12)]
Code = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_-]{0,63}$")]
FeatureKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.]{0,63}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]
Interval = Literal["daily", "weekly", "monthly", "yearly"]


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Feature(Entry):
    """Something that plans limit. `is_metered`: counted in each period of a subscription."""

    display_name: Text
    description: str | None = None
    unit: Annotated[Text, Field(max_length=32)]
    is_metered: bool = True


class Limit(Entry):
    """`soft`, `hard`: None for no limit. `unit_cents`: the price of each unit beyond the `included` ones; None: no price."""

    soft: Amount | None = None
    hard: Amount | None = None
    included: Amount = 0
    unit_cents: UnitCents | None = None

    def faults(self, feature: Feature) -> Iterator[str]:
        if not feature.is_metered and (self.soft is not None or self.unit_cents is not None):
            yield "what is not metered has a hard limit only"
        if self.soft is not None and self.hard is not None and self.soft > self.hard:
            yield f"the soft limit, {self.soft}, is above the hard one, {self.hard}"
        if self.included and self.unit_cents is None:
            yield "included says what costs nothing, so it needs unit_cents"
        if self.unit_cents and self.hard is not None and self.hard <= self.included:
            yield f"nothing beyond {self.hard} is allowed, so nobody ever pays unit_cents"


class PlanEntry(Entry):
    """A plan. `price_cents` is for all included seats together."""

    name: Text
    price_cents: Cents
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")] = "USD"
    interval: Interval = "monthly"
    interval_count: Annotated[int, Field(ge=1, le=12)] = 1
    seats_included: Annotated[int, Field(ge=1, le=100_000)] = 1
    extra_seat_cents: Cents | None = None  # of each further seat; None: none are sold
    trial_days: Annotated[int, Field(ge=0, le=730)] = 0
    is_active: bool = True  # on sale
    jobs_at_once: Annotated[int, Field(ge=1, le=10**6)] | None = None  # of a tenant; None: TENANT_JOBS_AT_ONCE
    toggles: dict[Toggle, bool] = {}
    limits: dict[FeatureKey, Limit] = {}

    @property
    def all_toggles(self) -> dict[str, bool]:
        """What the file does not name is not allowed."""
        return {name: self.toggles.get(name, False) for name in get_args(Toggle)}


class PlanFile(Entry):
    features: dict[FeatureKey, Feature] = {}
    plans: Annotated[dict[Code, PlanEntry], Field(min_length=1)]

    def metered(self, plan: PlanEntry) -> dict[str, Limit]:
        """What is counted, and perhaps charged, of a plan's features."""
        return {key: limit for key, limit in plan.limits.items() if self.features[key].is_metered}

    def faults(self) -> Iterator[str]:
        """What the schema alone cannot say: one line each, with the place in the file."""
        for key, feature in self.features.items():
            yield from (f"features.{key}: {fault}" for fault in _faults_of(key, feature))
        for code, plan in self.plans.items():
            yield from (f"plans.{code}{fault}" for fault in self._faults_of(plan))
        currencies = {plan.currency for plan in self.plans.values() if plan.is_active}
        if len(currencies) > 1:
            yield f"plans: {', '.join(sorted(currencies))}: nobody can change to a plan in another currency"

    def _faults_of(self, plan: PlanEntry) -> Iterator[str]:
        unknown = sorted(plan.limits.keys() - self.features.keys())
        yield from (f".limits.{key}: there is no [features.{key}]" for key in unknown)
        if unknown:
            return
        for key, limit in plan.limits.items():
            yield from (f".limits.{key}: {fault}" for fault in limit.faults(self.features[key]))
        if len(self.metered(plan)) > MOST_FEATURES:
            yield f".limits: a plan has at most {MOST_FEATURES} metered features"


def _faults_of(key: str, feature: Feature) -> Iterator[str]:
    if key in KNOWN and feature.is_metered is not KNOWN[key]:
        yield f"is_metered has to be {str(KNOWN[key]).lower()}"
    if key not in KNOWN and not feature.is_metered:
        yield "nothing would enforce this limit"
    if feature.is_metered and "." in key:
        yield "the key of what is metered has no dots"


def plan_file() -> PlanFile:
    """The plan file of this installation. SystemExit that lists all its faults."""
    path = Path(settings.plans_path or PACKAGED)
    file = read(path)
    default = file.plans.get(settings.signup_default_plan_code)
    if default is None or not default.is_active:
        code = settings.signup_default_plan_code
        raise SystemExit(f"{path}: plans.{code}: SIGNUP_DEFAULT_PLAN_CODE names it, but it is not an active plan.")
    return file


def read(path: Path) -> PlanFile:
    """The plans in a file. SystemExit with a line for each fault."""
    try:
        file = PlanFile.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: {error}.") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, each['loc'])) or 'plans'}: {each['msg']}" for each in error.errors()]
    else:
        faults = list(file.faults())
        if not faults:
            return file
    raise SystemExit("\n".join(f"{path}: {fault}." for fault in faults))
