"""The flags of a tenant: what its admins may switch off for all of its members. A flag that nobody has set has its default."""

from dataclasses import dataclass
from uuid import UUID

from models.platform.database import database
from models.platform.errors import BadRequest, Forbidden

READ = "select flags from tenant_settings where tenant_id = %(tenant_id)s"


class FlagUnknown(BadRequest):
    """`details`: the flag's name, and the `known` ones."""

    code = "flag_unknown"

    def __init__(self, name: str) -> None:
        known = sorted(FLAGS)
        message = f"There is no flag {name[:128]!r}. Known are: {', '.join(known)}."
        super().__init__(message, details={"flag": name[:128], "known": known})


class FlagOff(Forbidden):
    """`details`: the flag's name."""

    code = "flag_off"

    def __init__(self, name: str) -> None:
        super().__init__(f"An admin of this tenant has switched {name} off.", details={"flag": name})


@dataclass(frozen=True, slots=True)
class Flag:
    """A line of the catalogue. `description`: what the tenant has while it is on."""

    name: str
    description: str
    default: bool = True


WEB_SEARCH = Flag("web_search", "Agents search the web, if the plan includes it.")
CODE_INTERPRETER = Flag("code_interpreter", "Agents run code in containers.")
IMAGE_GENERATION = Flag("image_generation", "Agents make images.")
ATTACHMENTS = Flag("attachments", "Messages may have files attached.")
FLAGS = {flag.name: flag for flag in (ATTACHMENTS, CODE_INTERPRETER, IMAGE_GENERATION, WEB_SEARCH)}


def of_tenant(tenant_id: UUID | None) -> dict[str, bool]:
    """All flags of the catalogue, with the tenant's values or their defaults. Stored ones that are no flags any more are left out."""
    row = database.execute_prepared(READ, {"tenant_id": tenant_id}).fetchone()
    stored = row[0] if row else {}
    return {name: bool(stored.get(name, flag.default)) for name, flag in FLAGS.items()}


def is_on(tenant_id: UUID | None, flag: Flag) -> bool:
    return of_tenant(tenant_id)[flag.name]


def require_on(tenant_id: UUID | None, flag: Flag) -> None:
    """FlagOff (403) if the tenant has switched it off."""
    if not is_on(tenant_id, flag):
        raise FlagOff(flag.name)


def checked(flags: dict[str, bool], stored: dict[str, bool]) -> dict[str, bool]:
    """The flags to save. FlagUnknown for one that is neither in the catalogue nor stored from before it was taken out."""
    trimmed = {key.strip(): value for key, value in flags.items() if key.strip()}
    for name in trimmed:
        if name not in FLAGS and name not in stored:
            raise FlagUnknown(name)
    return trimmed
