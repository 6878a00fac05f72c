"""The services file: what the status page shows, and how each service is probed."""

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from models.platform.errors import BadRequest
from models.platform.settings import settings

PACKAGED = Path(__file__).with_name("services.toml")
MOST_SERVICES = 50
OPERATIONAL, DEGRADED, INCIDENT, MAINTENANCE, UNKNOWN = "operational", "degraded", "incident", "maintenance", "unknown"
Key = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9-]{0,31}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]
Queue = Literal["agents", "index", "files", "events", "mail", "housekeeping"]


class UnknownService(BadRequest):
    code = "unknown_service"


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProbeEntry(Entry):
    """`slow_seconds`: a probe that takes longer shows the service as degraded."""

    slow_seconds: Annotated[float, Field(gt=0, le=30)] | None = None


class HttpProbe(ProbeEntry):
    kind: Literal["http"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$", max_length=2048)]


class QueueProbe(ProbeEntry):
    """It fails while the oldest due job of the queue has waited for more than `max_age_seconds`."""

    kind: Literal["queue"]
    queue: Queue
    max_age_seconds: Annotated[int, Field(gt=0, le=86_400)]


class PartProbe(ProbeEntry):
    kind: Literal["postgres", "redis", "model", "stripe", "storage"]


class ServiceEntry(Entry):
    """`if_setting`: the service is only there if this setting is on."""

    name: Name
    description: Text
    owner: Name
    group: Name | None = None
    if_setting: Literal["enable_billing"] | None = None
    probe: Annotated[HttpProbe | QueueProbe | PartProbe, Field(discriminator="kind")] | None = None


class ServicesFile(Entry):
    services: Annotated[dict[Key, ServiceEntry], Field(min_length=1, max_length=MOST_SERVICES)]


class Service(Entry):
    """`probe`: its `kind` with the values that this kind needs, such as `url`; None if nobody probes the service."""

    key: str
    name: str
    description: str
    owner: str
    group: str | None
    probe: dict[str, Any] | None


def services() -> dict[str, Service]:
    """The services of this installation by key, in the order of the file. SystemExit that lists all faults of the file."""
    path = Path(settings.status_services_path or PACKAGED)
    return {key: each for key, each, setting in _all(path) if setting is None or getattr(settings, setting)}


@lru_cache(maxsize=8)
def _all(path: Path) -> list[tuple[str, Service, str | None]]:
    return [(key, _service(key, entry), entry.if_setting) for key, entry in read(path).services.items()]


def _service(key: str, entry: ServiceEntry) -> Service:
    return Service(key=key, **entry.model_dump(exclude={"if_setting"}))


def known(keys: list[str]) -> list[str]:
    """The same keys, without repetition, in the order of the file. UnknownService (400) names those that are not in it."""
    there = services()
    unknown = sorted(set(keys) - there.keys())
    if unknown:
        names = ", ".join(repr(key[:64]) for key in unknown[:5])
        raise UnknownService(f"There is no service {names}.", details={"services": list(there)})
    return [key for key in there if key in keys]


def read(path: Path) -> ServicesFile:
    """The services in a file. SystemExit with a line for each fault."""
    try:
        return ServicesFile.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: {error}.") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, each['loc'])) or 'services'}: {each['msg']}" for each in error.errors()]
        raise SystemExit("\n".join(f"{path}: {fault}." for fault in faults)) from None
