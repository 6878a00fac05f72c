"""The service accounts of this installation, from a TOML file: who may have which scopes, for how long."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from models.auth.signing_keys import SERVICE_ACCOUNT_TOKEN_MINUTES
from models.platform.settings import settings

PACKAGED = Path(__file__).with_name("service_accounts.toml")


class ServiceAccount(BaseModel, extra="forbid"):
    """A machine's account. Lifetimes are minutes; `lifetime` is the default, and `max_lifetime` without one."""

    description: str = Field(min_length=3)
    scopes: list[Annotated[str, StringConstraints(pattern=r"^[a-z_]+:([a-z_]+|\*)$")]] = Field(min_length=1)
    tenant: Literal["required", "forbidden"] = "required"
    max_lifetime: int = Field(gt=0, le=SERVICE_ACCOUNT_TOKEN_MINUTES)
    lifetime: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _lifetime_within_maximum(self) -> "ServiceAccount":
        if self.default_lifetime > self.max_lifetime:
            raise ValueError("lifetime exceeds max_lifetime")
        return self

    @property
    def default_lifetime(self) -> int:
        return self.lifetime or self.max_lifetime


Catalogue = TypeAdapter(dict[Annotated[str, StringConstraints(pattern="^[a-z0-9-]{3,64}$")], ServiceAccount])


@cache
def catalogue() -> dict[str, ServiceAccount]:
    """The service accounts by name, read once per process."""
    return read_catalogue(Path(settings.service_accounts_path or PACKAGED))


def read_catalogue(path: Path) -> dict[str, ServiceAccount]:
    """The service accounts in a file. Raises SystemExit if it is missing, empty or invalid: a process must not start."""
    try:
        accounts = Catalogue.validate_python(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise SystemExit(f"The catalogue of service accounts, {path}, cannot be used: {error}") from None
    if not accounts:
        raise SystemExit(f"The catalogue of service accounts, {path}, is empty.")
    return accounts
